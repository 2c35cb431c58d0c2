"""Masks: pixels that were not measured (0) or not fully (between 0 and 1)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from pellucid.errors import OperatorError, ShapeError
from pellucid.operators.diagonal import Diagonal
from pellucid.operators.files import read_grey
from pellucid.operators.kernels import gaussian_radius
from pellucid.operators.parameters import PerImage, per_image, picture_shape
from pellucid.typing import Shape

SIDES = ("left", "right", "top", "bottom")


class Mask(Diagonal):
    """y = m * x: 1 where a pixel was measured, 0 in the holes (which therefore measure 0).

    Args:
        image_shape: (c, h, w).
        mask: (h, w), (1 or c, h, w), or (b, 1 or c, h, w) for one an image; values in [0, 1].
        rcond: values of at most `rcond` count as holes in the pseudo-inverse.
    """

    @classmethod
    def random(cls, image_shape: Shape, missing: PerImage = 0.7, seed: int | Sequence[int] = 0) -> Self:
        """Every pixel is missing with probability `missing`, the same for its channels; frozen by the seed.

        Keeps a pixel where u < 1 - missing, for one map u ~ U(0, 1) a seed, so that the holes of a smaller fraction
        are among those of a larger one (Flash-Diffusion's varying inpainting is missing = 0.8 t with seed 0). A list of
        fractions, or of seeds, makes one mask an image.
        """
        _, h, w = picture_shape(image_shape)
        fractions = per_image(missing, "the missing fraction", at_least=0, at_most=1)
        seeds = [seed] if isinstance(seed, int) else list(seed)
        maps = torch.stack([torch.rand(h, w, generator=torch.Generator().manual_seed(s)) for s in seeds])
        kept = maps[:, None] < 1 - fractions.reshape(-1, 1, 1, 1)
        shared = isinstance(seed, int) and (isinstance(missing, (int, float)) or torch.as_tensor(missing).ndim == 0)
        return cls(image_shape, kept[0] if shared else kept)

    @classmethod
    def box(cls, image_shape: Shape, size: int | tuple[int, int] = 64, corner: tuple[int, int] | None = None) -> Self:
        """One rectangle is missing: `size` (height, width) with its top left at `corner`, else in the centre.

        Raises:
            ShapeError: the box is not inside the picture.
        """
        _, h, w = picture_shape(image_shape)
        height, width = (size, size) if isinstance(size, int) else size
        top, left = corner or ((h - height) // 2, (w - width) // 2)
        if min(height, width) < 1 or top < 0 or left < 0 or top + height > h or left + width > w:
            raise ShapeError(
                f"a box of {height} x {width} at row {top}, column {left} is not inside a picture of {h} x {w}"
            )
        mask = torch.ones(h, w)
        mask[top : top + height, left : left + width] = 0
        return cls(image_shape, mask)

    @classmethod
    def side(cls, image_shape: Shape, side: str = "right") -> Self:
        """One half is missing: the left, right, top or bottom (the smaller half of an odd size)."""
        _, h, w = picture_shape(image_shape)
        mask = torch.ones(h, w)
        holes = {
            "left": mask[:, : w // 2],
            "right": mask[:, w - w // 2 :],
            "top": mask[: h // 2],
            "bottom": mask[h - h // 2 :],
        }
        if side not in holes:
            raise OperatorError(f"a half is one of {', '.join(SIDES)}, not {side!r}")
        holes[side].zero_()
        return cls(image_shape, mask)

    @classmethod
    def from_file(cls, image_shape: Shape, path: str | Path) -> Self:
        """From a picture file: white was measured, black is missing (cut at middle grey).

        Raises:
            OperatorError: the file cannot be read.
            ShapeError: it does not have the picture's size.
        """
        _, h, w = picture_shape(image_shape)
        grey = read_grey(path)
        if tuple(grey.shape) != (h, w):
            raise ShapeError(
                f"the mask {path} has {grey.shape[0]} x {grey.shape[1]} pixels and the picture {h} x {w}; "
                "resize one of them"
            )
        return cls(image_shape, grey >= 0.5)


class SoftMask(Diagonal):
    """Dirac's soft hole: m = (1 - k / max k)^power, k a Gaussian of `std` pixels around pixel (h // 2, w // 2).

    k is cut at 4 std, as scipy's is, so that m = 1 outside; std = 0 is no hole at all. Dirac uses up to 50 pixels
    at 256 x 256 on faces and 30 on ImageNet, with power 4 (METHODS 1.5).

    Args:
        image_shape: (c, h, w).
        std: in pixels; a list for one an image.
        power: of the profile.
        rcond: pixels weighed by at most this are holes in the pseudo-inverse (their noise would be amplified more).
    """

    def __init__(self, image_shape: Shape, std: PerImage = 50.0, *, power: float = 4.0, rcond: float = 3e-2) -> None:
        _, h, w = picture_shape(image_shape)
        stds = per_image(std, "std", at_least=0)
        weights = torch.stack([_soft_hole(h, w, float(s), power) for s in stds])[:, None]
        super().__init__(image_shape, weights[0] if torch.as_tensor(std).ndim == 0 else weights, rcond=rcond)
        self.power = power
        self.hold("std", stds)


def _soft_hole(h: int, w: int, std: float, power: float) -> Tensor:
    if std == 0:
        return torch.ones(h, w, dtype=torch.float64)
    return (1 - torch.outer(_profile(h, std), _profile(w, std))) ** power


def _profile(n: int, std: float) -> Tensor:
    """exp(-d^2 / 2 std^2) for distances d from n // 2 up to the cut, 0 beyond."""
    d = (torch.arange(n, dtype=torch.float64) - n // 2).abs()
    return torch.where(d <= gaussian_radius(std, 4.0), torch.exp(-(d**2) / (2 * std**2)), 0)
