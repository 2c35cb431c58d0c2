"""Pictures of coarse square pixels, at their old size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from pellucid.errors import OperatorError
from pellucid.operators.base import Spectral
from pellucid.operators.parameters import picture_shape
from pellucid.typing import Shape

MAX_LEVELS = 24  # blocks of 2^24 pixels: wider than any picture that is read


class Pixelation(Spectral):
    """y = sum_k w_k P_k x, P_k the mean over blocks of 2^k x 2^k pixels, put in place of each of them.

    The P_k are orthogonal projections, each onto a part of what the one before leaves, so that A is symmetric with the
    eigenvalues w_0 + ... + w_j. Haar's wavelets diagonalise them all: along rows and columns each has a finest level
    at which it is seen, and j is the lower of the two. One weight of 1 is super-resolution's block average, brought
    back to the picture's size. Blocks begin at the upper left corner; those that the picture's edge cuts are means of
    what is left of them.

    Args:
        image_shape: (c, h, w).
        weights: w_0, w_1, ..., at most 25, not negative and 1 in sum; (b, levels) for one set an image.

    Raises:
        OperatorError: other weights.
    """

    def __init__(self, image_shape: Shape, weights: Sequence[float] | Tensor) -> None:
        values = torch.as_tensor(weights, dtype=torch.float64)
        if (
            values.ndim not in (1, 2)
            or not 1 <= values.shape[-1] <= MAX_LEVELS + 1
            or not (values >= 0).all()
            or not ((values.sum(-1) - 1).abs() <= 1e-9).all()
        ):
            raise OperatorError("the weights of a pixelation are 1 to 25, not negative, and 1 in sum")
        super().__init__(picture_shape(image_shape), batch=len(values) if values.ndim == 2 else None)
        self.hold("weights", values if values.ndim == 2 else values[None])

    @classmethod
    def of(cls, image_shape: Shape, size: int = 8) -> Pixelation:
        """Blocks of size x size pixels, a power of 2 up to 2^24. Raises `OperatorError`."""
        levels = int(size).bit_length()
        if size < 1 or levels > MAX_LEVELS + 1 or size != 2 ** (levels - 1):
            raise OperatorError(f"the size of blocks is a power of 2 from 1 to {2**MAX_LEVELS}, not {size}")
        return cls(image_shape, [0.0] * (levels - 1) + [1.0])

    def _derive(self) -> None:
        weights = self.get_buffer("weights")
        (rows, along_rows), (columns, along_columns) = (haar(n, weights.shape[1] - 1) for n in self.image_shape[1:])
        level = torch.minimum(along_rows[:, None], along_columns)
        self.hold("singular", weights.cumsum(1)[:, None, level], derived=True)
        self.hold("v_rows", rows[None], derived=True)
        self.hold("v_columns", columns[None], derived=True)

    def singular_values(self, like: Tensor) -> Tensor:
        """w_0 + ... + w_j, (1 or b, 1, h, w)."""
        return self.constant("singular", like)

    def _to_spectrum(self, x: Tensor) -> Tensor:
        return self.constant("v_rows", x) @ x @ self.constant("v_columns", x).mT

    def _from_spectrum(self, c: Tensor) -> Tensor:
        return self.constant("v_rows", c).mT @ c @ self.constant("v_columns", c)

    def _measured_to_spectrum(self, y: Tensor) -> Tensor:
        return self._to_spectrum(y)

    def _spectrum_to_measured(self, c: Tensor) -> Tensor:
        return self._from_spectrum(c)

    def _forward(self, x: Tensor) -> Tensor:
        # Means of blocks, which cost less than a change of basis and are exact where the picture is constant.
        weights = self.constant("weights", x)
        total = torch.zeros_like(x)
        for level in range(weights.shape[1]):
            total = total + weights[:, level, None, None, None] * block_means(x, 2**level)
        return total

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._forward(y)


def block_means(x: Tensor, size: int) -> Tensor:
    """P x: the mean over every block of size x size pixels in place of each of them."""
    if size == 1:
        return x
    height, width = (min(size, n) for n in x.shape[-2:])
    means = F.avg_pool2d(x, (height, width), ceil_mode=True, count_include_pad=False)
    large = means.repeat_interleave(height, -2).repeat_interleave(width, -1)
    return large[..., : x.shape[-2], : x.shape[-1]]


def haar(n: int, levels: int) -> tuple[Tensor, Tensor]:
    """Haar's orthogonal basis on a line of n pixels, (n, n) float64, one function a row, and their levels, (n,).

    A function of level k < `levels` is constant on blocks of 2^k pixels and of mean zero on those of 2^(k + 1); those
    of level `levels` are constant on the largest blocks. Blocks that the end cuts weigh by what is left of them.
    """
    blocks, found, level_of = list(torch.eye(n, dtype=torch.float64)), [], []
    sizes = [1] * n
    for level in range(levels):
        merged, larger = [], []
        for i in range(0, len(blocks) - 1, 2):
            a, b = sizes[i], sizes[i + 1]
            merged.append((math.sqrt(a) * blocks[i] + math.sqrt(b) * blocks[i + 1]) / math.sqrt(a + b))
            found.append((math.sqrt(b) * blocks[i] - math.sqrt(a) * blocks[i + 1]) / math.sqrt(a + b))
            level_of.append(level)
            larger.append(a + b)
        odd = len(blocks) % 2
        blocks, sizes = merged + blocks[len(blocks) - odd :], larger + sizes[len(sizes) - odd :]
    return torch.stack(found + blocks), torch.tensor(level_of + [levels] * len(blocks))
