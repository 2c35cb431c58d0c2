"""A start from a network that was trained to restore: y -> x in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from pellucid.codec import AffineCodec, Decoded
from pellucid.errors import CompatibilityError, NeedsCapability, ShapeError
from pellucid.noise import Noise
from pellucid.operators.base import LinearOperator, Operator
from pellucid.operators.shown import network_input
from pellucid.prior.base import Prior, State
from pellucid.problem import Observation
from pellucid.start.base import Start

Shown = Literal["auto", "y", "pinv"]


@dataclass(frozen=True)
class Restored(Start):
    """x = F(v) at time 0, F a supervised network such as SwinIR; `Noised(Restored(F), fraction)` starts CCDF from it.

    Its pass is not counted in NFE, which are the prior's.

    Args:
        network: F, pictures (b, c, h, w) in [0, 1] -> pictures in [0, 1]; called in eval mode as it is given.
        shown: v. "y": the measurement itself, the same size or smaller by what F enlarges; "pinv": A^+ y, for a linear
            A; "auto": y where it is such a picture, `fbp(y)` of a sinogram, else A^+ y: see `network_input`.

    Raises:
        CompatibilityError: an unknown `shown`.
    """

    network: nn.Module
    shown: Shown = "auto"

    def __post_init__(self) -> None:
        if self.shown not in ("auto", "y", "pinv"):
            raise CompatibilityError(f"shown must be auto, y or pinv, not {self.shown!r}")

    def __call__(self, observation: Observation, prior: Prior, noise: Noise, top: Tensor) -> State:
        y, operator = measured(observation, prior)
        image = restore(self.network, self.input(y, operator)).to(y)
        if image.shape[1:] != operator.image_shape:
            raise ShapeError(
                f"the network makes pictures of shape {tuple(image.shape[1:])}, the problem's have "
                f"{operator.image_shape}: take one that enlarges as much as the operator makes smaller"
            )
        return State(prior.codec.encode(image), torch.zeros_like(top))

    def input(self, y: Tensor, operator: Operator) -> Tensor:
        """v, in [0, 1] units."""
        if self.shown == "auto":
            return network_input(y, operator)
        if self.shown == "y":
            return y
        if not isinstance(operator, LinearOperator):
            raise NeedsCapability("shown='pinv' needs a linear operator; a nonlinear one has no pseudo-inverse")
        return operator.pinv(y)


def measured(observation: Observation, prior: Prior) -> tuple[Tensor, Operator]:
    """The measurement in the units of pictures in [0, 1], and the operator on such pictures.

    Raises:
        CompatibilityError: the prior's codec does not tell how it changed the measurement.
    """
    operator, codec = observation.operator, prior.codec
    if isinstance(operator, Decoded):
        return observation.y / operator.scale, operator.operator
    if not isinstance(codec, AffineCodec):
        raise CompatibilityError(f"{type(codec).__name__} does not tell the measurement in units of pictures")
    shift = 0 if observation.black is None else observation.black
    return (observation.y - shift) / codec.scale, operator


def restore(network: nn.Module, v: Tensor) -> Tensor:
    """F(v) without gradients, in the network's dtype, on its device; grey as three equal channels if it has colour."""
    weight = next(network.parameters(), v)
    config = getattr(network, "config", None)
    grey = v.shape[1] == 1 and isinstance(config, dict) and config.get("channels") == 3
    with torch.no_grad():
        out: Tensor = network((v.expand(-1, 3, -1, -1) if grey else v).to(weight.device, weight.dtype))
    return out.mean(1, keepdim=True) if grey else out
