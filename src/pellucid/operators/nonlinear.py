"""Nonlinear measurements of a pixel or of a Fourier coefficient."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from pellucid.errors import ShapeError
from pellucid.operators.base import Operator
from pellucid.operators.parameters import PerImage, common_batch, per_image, picture_shape
from pellucid.operators.rounding import Rounding, require_rounding, rounded
from pellucid.typing import Shape, expand


class HDR(Operator):
    """y = clip(scale (x - pivot) + pivot, 0, 1): a dynamic range that the sensor cannot hold.

    With pivot 1/2 both ends are clipped: on [-1, 1] this is clip(scale x, -1, 1), DAPS's task with scale 2. With pivot
    0 only the highlights are: an exposure that is `scale` times too long.

    Args:
        image_shape: (c, h, w).
        scale: of the contrast; a list for one an image.
        pivot: the level that stays.
    """

    def __init__(self, image_shape: Shape, scale: PerImage = 2.0, *, pivot: PerImage = 0.5) -> None:
        picture_shape(image_shape)
        super().__init__(image_shape, batch=common_batch(scale, pivot))
        self.hold("scale", per_image(scale, "scale", at_least=0))
        self.hold("pivot", per_image(pivot, "pivot", at_least=0, at_most=1))

    def _forward(self, x: Tensor) -> Tensor:
        scale, pivot = (expand(self.constant(name, x), x) for name in ("scale", "pivot"))
        return (scale * (x - pivot) + pivot).clamp(0, 1)


class Quantise(Operator):
    """y = round(L clip(x, 0, 1)) / L with L = 2^bits - 1: few levels, posterisation.

    Args:
        image_shape: (c, h, w).
        bits: from 1; a list for one an image.
        rounding: "straight-through" (exact, derivative 1) or "smooth" (see `rounded`).
    """

    def __init__(self, image_shape: Shape, bits: PerImage = 3, *, rounding: Rounding = "straight-through") -> None:
        picture_shape(image_shape)
        require_rounding(rounding)
        super().__init__(image_shape, batch=common_batch(bits))
        self.rounding: Rounding = rounding
        self.hold("steps", 2 ** per_image(bits, "bits", at_least=1, at_most=16).round() - 1)

    def _forward(self, x: Tensor) -> Tensor:
        steps = expand(self.constant("steps", x), x)
        return rounded(steps * x.clamp(0, 1), self.rounding) / steps


class PhaseRetrieval(Operator):
    """y = |F P x|, the magnitude of the unitary Fourier transform of the picture inside a black frame P, centred.

    The frame is int(oversample / 8 size) pixels on each side: 64 for 256 pixels with DPS's oversample 2. It fixes
    the picture up to a turn by 180 degrees, for the most part.

    Args:
        image_shape: (c, h, w).
        oversample: eighths of the size added on each side.

    Raises:
        ShapeError: the frame is more than twice the picture on each side.
    """

    def __init__(self, image_shape: Shape, oversample: float = 2.0) -> None:
        c, h, w = picture_shape(image_shape)
        if not 0 <= oversample <= 16:
            raise ShapeError(f"oversample is between 0 and 16, not {oversample:g}")
        frame = int(oversample / 8 * h), int(oversample / 8 * w)
        super().__init__(image_shape, (c, h + 2 * frame[0], w + 2 * frame[1]))
        self.frame = frame

    def _forward(self, x: Tensor) -> Tensor:
        rows, columns = self.frame
        framed = torch.fft.ifftshift(pad(x, (columns, columns, rows, rows)), dim=(-2, -1))
        return torch.fft.fftshift(torch.fft.fft2(framed, norm="ortho"), dim=(-2, -1)).abs()
