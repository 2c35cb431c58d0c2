"""Rounding that a gradient can pass."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from pellucid.errors import OperatorError

Rounding = Literal["straight-through", "smooth"]


def require_rounding(rounding: str) -> None:
    """Raises `OperatorError` unless it is one of the two."""
    if rounding not in get_args(Rounding):
        raise OperatorError(f"rounding is one of {', '.join(get_args(Rounding))}, not {rounding!r}")


def rounded(x: Tensor, rounding: Rounding = "straight-through") -> Tensor:
    """Rounds to whole numbers, to an even one halfway.

    "straight-through" rounds exactly and takes the derivative to be 1; "smooth" is round(x) + (x - round(x))^3, whose
    derivative is its own (Shin and Song, JPEG-resistant adversarial images, 2017).
    """
    whole = x.detach().round()
    return x + (whole - x.detach()) if rounding == "straight-through" else whole + (x - whole) ** 3
