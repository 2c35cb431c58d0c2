"""What a supervised network is shown of a measurement."""

from __future__ import annotations

from torch import Tensor

from pellucid.errors import NeedsCapability
from pellucid.operators.base import LinearOperator, Operator


def network_input(y: Tensor, operator: Operator) -> Tensor:
    """y or A^+ y.

    A measurement that is a picture, smaller by a whole factor at most, is shown as it is; any other as A^+ y (Jin et
    al., IEEE TIP 2017: filtered back-projection before a UNet).

    Raises:
        NeedsCapability: y is no picture, and A is not linear.
    """
    if upscaling(operator) is not None:
        return y
    if isinstance(operator, LinearOperator):
        return operator.pinv(y)
    shape = tuple(operator.measurement_shape)
    raise NeedsCapability(
        f"a measurement of shape {shape} is no picture, and a nonlinear operator has no pseudo-inverse"
    )


def upscaling(operator: Operator) -> int | None:
    """How many times finer the picture is than a measurement that is a picture; None where it is none."""
    c, h, w = operator.image_shape
    shape = tuple(operator.measurement_shape)
    if len(shape) == 3 and shape[0] == c and h % shape[1] == 0 and shape[1] * w == shape[2] * h:
        return h // shape[1]
    return None
