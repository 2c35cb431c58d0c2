"""JPEG compression that a gradient can pass."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from pellucid.errors import ShapeError
from pellucid.operators.base import Operator
from pellucid.operators.parameters import PerImage, common_batch, per_image, picture_shape
from pellucid.operators.rounding import Rounding, require_rounding, rounded
from pellucid.typing import Shape, expand

# The tables of the standard (ITU T.81, annex K), which every encoder scales by the quality.
LUMA = """
16 11 10 16 24 40 51 61  12 12 14 19 26 58 60 55  14 13 16 24 40 57 69 56  14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92  49 64 78 87 103 121 120 101  72 92 95 98 112 100 103 99"""
CHROMA = """
17 18 24 47 99 99 99 99  18 21 26 66 99 99 99 99  24 26 56 99 99 99 99 99  47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99"""
TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))


class JPEG(Operator):
    """What a JPEG file of that quality decodes to, before rounding to 8 bits.

    Colours to Y, Cb, Cr of 8 bits; Cb and Cr averaged over 2 x 2 pixels; blocks of 8 x 8 to their cosine transform,
    divided by the scaled tables of the standard and rounded; and back, with Cb and Cr interpolated as libjpeg does. It
    agrees with libjpeg to a level or so of 255, root mean square. Only the rounding is not differentiable, and
    `rounding` says what stands for its derivative.

    Args:
        image_shape: (3, h, w), or (1, h, w) for grey; sizes that blocks do not divide repeat their edge.
        quality: 1 to 100; a list for one an image.
        rounding: "straight-through" (exact, derivative 1) or "smooth" (see `rounded`).

    Raises:
        ShapeError: neither one channel nor three.
    """

    def __init__(self, image_shape: Shape, quality: PerImage = 60, *, rounding: Rounding = "straight-through") -> None:
        c, _, _ = picture_shape(image_shape)
        if c not in (1, 3):
            raise ShapeError(f"JPEG takes pictures of 1 or 3 channels, not {c}")
        require_rounding(rounding)
        super().__init__(image_shape, batch=common_batch(quality))
        self.rounding: Rounding = rounding
        qualities = per_image(quality, "quality", at_least=1, at_most=100)
        self.hold("quality", qualities)
        self.hold("luma", _scaled(LUMA, qualities))
        self.hold("chroma", _scaled(CHROMA, qualities))
        self.hold("cosines", _cosines()[None])
        self.hold("colours", torch.tensor([TO_YCC], dtype=torch.float64))

    def _forward(self, x: Tensor) -> Tensor:
        c, h, w = self.image_shape
        unit = 16 if c == 3 else 8
        levels = 255 * pad(x, (0, -w % unit, 0, -h % unit), mode="replicate")
        decoded = self._grey(levels) if c == 1 else self._colour(levels)
        return (decoded[..., :h, :w] / 255).clamp(0, 1)

    def _grey(self, levels: Tensor) -> Tensor:
        return self._blocks(levels - 128, "luma") + 128

    def _colour(self, levels: Tensor) -> Tensor:
        colours = self.constant("colours", levels)[0]
        ycc = rounded(torch.einsum("ij,bjhw->bihw", colours, levels), self.rounding)
        luma = self._blocks(ycc[:, :1] - 128, "luma") + 128
        chroma = interpolate(self._blocks(avg_pool2d(ycc[:, 1:], 2), "chroma"), scale_factor=2, mode="bilinear")
        return torch.einsum("ij,bjhw->bihw", torch.linalg.inv(colours), torch.cat([luma, chroma], 1))

    def _blocks(self, plane: Tensor, table: str) -> Tensor:
        """Quantises the cosine transform of every block of 8 x 8."""
        b, c, h, w = plane.shape
        steps = self.constant(table, plane)[:, None, None, None]
        cosines = self.constant("cosines", plane)[0]
        blocks = plane.reshape(b, c, h // 8, 8, w // 8, 8).transpose(3, 4)
        coefficients = rounded(cosines @ blocks @ cosines.T / steps, self.rounding) * steps
        return (cosines.T @ coefficients @ cosines).transpose(3, 4).reshape(plane.shape)


def _scaled(table: str, quality: Tensor) -> Tensor:
    """The scaling that libjpeg gives a table by the quality, (b, 8, 8)."""
    steps = torch.tensor([float(v) for v in table.split()], dtype=torch.float64).reshape(1, 8, 8)
    percent = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)
    return ((steps * expand(percent, steps) + 50) / 100).floor().clamp(1, 255)


def _cosines() -> Tensor:
    """The orthonormal 8-point cosine transform."""
    k, n = torch.arange(8, dtype=torch.float64)[:, None], torch.arange(8, dtype=torch.float64)
    matrix = torch.cos(math.pi * (2 * n + 1) * k / 16) / 2
    return torch.where(k == 0, matrix / math.sqrt(2), matrix)
