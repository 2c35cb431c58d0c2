"""Light and contrast."""

from __future__ import annotations

from torch import Tensor

from pellucid.operators.base import Operator
from pellucid.operators.diagonal import Diagonal
from pellucid.operators.parameters import PerImage, common_batch, per_image, picture_shape
from pellucid.typing import Shape


class ContrastLoss(Operator):
    """y = keep x + (1 - keep) grey: haze, a flat scan.

    Args:
        image_shape: (c, h, w).
        keep: share of the contrast that is left, in [0, 1]; a list for one an image.
        grey: what everything fades to.

    Raises:
        OperatorError: a number outside [0, 1].
    """

    def __init__(self, image_shape: Shape, keep: PerImage = 0.3, grey: float = 0.5) -> None:
        super().__init__(picture_shape(image_shape), batch=common_batch(keep))
        self.hold("keep", per_image(keep, "keep", at_least=0, at_most=1))
        self.grey = float(per_image(grey, "grey", at_least=0, at_most=1))

    def _forward(self, x: Tensor) -> Tensor:
        keep = self.constant("keep", x)[:, None, None, None]
        return keep * x + (1 - keep) * self.grey


def exposure(image_shape: Shape, gain: PerImage = 0.25) -> Diagonal:
    """y = gain x: more or less light.

    Args:
        image_shape: (c, h, w).
        gain: at least 0; a list for one an image.

    Raises:
        OperatorError: a negative gain.
    """
    _, h, w = picture_shape(image_shape)
    gains = per_image(gain, "gain", at_least=0).reshape(-1, 1, 1, 1).repeat(1, 1, h, w)
    return Diagonal(image_shape, gains[0] if common_batch(gain) is None else gains)
