"""What a supervised network is shown of a measurement."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from pellucid.errors import NeedsCapability
from pellucid.operators.base import LinearOperator, Operator
from pellucid.operators.tomography import Tomograph


def network_input(y: Tensor, operator: Operator) -> Tensor:
    """y, A^+ y, or for a sinogram its filtered back-projection.

    A measurement that is a picture, smaller by a whole factor at most, is shown as it is; a sinogram as `fbp(y)` (Jin
    et al., IEEE TIP 2017), since A^+ y amplifies its noise and takes hundreds of products; any other as A^+ y.

    Raises:
        NeedsCapability: y is no picture, and A is not linear.
        CompatibilityError: a fan-beam sinogram that `fbp` does not take.
    """
    if isinstance(operator, Tomograph):
        return operator.fbp(y)
    if upscaling(operator) is not None:
        return y
    if isinstance(operator, LinearOperator):
        return operator.pinv(y)
    shape = tuple(operator.measurement_shape)
    raise NeedsCapability(
        f"a measurement of shape {shape} is no picture, and a nonlinear operator has no pseudo-inverse"
    )


def upscaling(operator: Operator) -> int | None:
    """How many times finer the picture is than a measurement that is a picture; None where it is none.

    A sinogram is none, whatever its shape.
    """
    if isinstance(operator, Tomograph):
        return None
    c, h, w = operator.image_shape
    shape = tuple(operator.measurement_shape)
    if len(shape) == 3 and shape[0] == c and h % shape[1] == 0 and shape[1] * w == shape[2] * h:
        return h // shape[1]
    return None


def picture_input(y: Tensor, operator: Operator) -> Tensor:
    """`network_input` at the picture's size: a smaller measurement is enlarged bicubically.

    Raises:
        NeedsCapability, CompatibilityError: as `network_input`.
    """
    v, (height, width) = network_input(y, operator), operator.image_shape[-2:]
    if v.shape[-2:] == (height, width):
        return v
    return F.interpolate(v, size=(height, width), mode="bicubic", antialias=False)
