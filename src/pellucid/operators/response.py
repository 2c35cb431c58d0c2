"""Camera responses f: from linear light to the picture's values, and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.errors import UnknownNameError

Curve = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Response:
    """A response and its inverse, increasing from 0 to 1 on [0, 1], odd around 0, defined and differentiable beyond.

    Attributes:
        to_picture: f, light -> picture.
        to_light: f^-1, picture -> light.
    """

    to_picture: Curve
    to_light: Curve


LOG = math.log(101)
RESPONSES = ("gamma", "srgb", "log", "linear")


def camera_response(name: str = "gamma", gamma: float = 2.2) -> Response:
    """The response of that name.

    Args:
        name: "gamma": l^(1 / gamma); "srgb": the standard's; "log": log(1 + 100 l) / log 101; "linear": l.
        gamma: of "gamma", at least 1.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if name == "gamma":
        # A power has an infinite slope at 0; below 1e-4 of the light the curve is its own chord.
        return Response(*_with_chord(lambda v: v ** (1 / gamma), lambda v: v**gamma, 1e-4))
    if name == "srgb":
        return Response(
            *_with_chord(lambda v: 1.055 * v ** (1 / 2.4) - 0.055, lambda v: ((v + 0.055) / 1.055) ** 2.4, 0.0031308)
        )
    if name == "log":
        return Response(_odd(lambda v: torch.log1p(100 * v) / LOG), _odd(lambda v: torch.expm1(v * LOG) / 100))
    if name == "linear":
        return Response(lambda v: v, lambda v: v)
    raise UnknownNameError("camera response", name, RESPONSES)


def _odd(curve: Curve) -> Curve:
    return lambda v: v.sign() * curve(v.abs())


def _with_chord(forward: Curve, backward: Curve, cut: float) -> tuple[Curve, Curve]:
    """An increasing curve and its inverse, with the chord from 0 for light below `cut`; both odd."""
    level = float(forward(torch.tensor(cut, dtype=torch.float64)))
    slope = level / cut

    def to_picture(light: Tensor) -> Tensor:
        size = light.abs()
        return light.sign() * torch.where(size < cut, slope * size, forward(size.clamp(min=cut)))

    def to_light(picture: Tensor) -> Tensor:
        size = picture.abs()
        return picture.sign() * torch.where(size < level, size / slope, backward(size.clamp(min=level)))

    return to_picture, to_light
