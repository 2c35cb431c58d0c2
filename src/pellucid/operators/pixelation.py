"""Pictures of coarse square pixels, at their old size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from pellucid.errors import OperatorError
from pellucid.operators.base import LinearOperator
from pellucid.operators.parameters import picture_shape
from pellucid.typing import Shape


class Pixelation(LinearOperator):
    """y = sum_k w_k P_k x, P_k the mean over blocks of 2^k x 2^k pixels, put in place of each of them.

    The P_k are orthogonal projections, each onto a part of what the one before leaves, so that A is symmetric with the
    eigenvalues w_0 + ... + w_j. One weight of 1 is super-resolution's block average, brought back to the picture's
    size. Blocks begin at the upper left corner; those that the picture's edge cuts are means of what is left of them.

    Args:
        image_shape: (c, h, w).
        weights: w_0, w_1, ..., not negative and 1 in sum; (b, levels) for one set an image.

    Raises:
        OperatorError: other weights.
    """

    iterative_pinv = False

    def __init__(self, image_shape: Shape, weights: Sequence[float] | Tensor) -> None:
        values = torch.as_tensor(weights, dtype=torch.float64)
        if values.ndim not in (1, 2) or not (values >= 0).all() or ((values.sum(-1) - 1).abs() > 1e-9).any():
            raise OperatorError("the weights of a pixelation are not negative, and 1 in sum")
        super().__init__(picture_shape(image_shape), batch=len(values) if values.ndim == 2 else None)
        self.hold("weights", values if values.ndim == 2 else values[None])

    @classmethod
    def of(cls, image_shape: Shape, size: int = 8) -> Pixelation:
        """Blocks of size x size pixels, a power of 2. Raises `OperatorError`."""
        levels = int(size).bit_length()
        if size < 1 or size != 2 ** (levels - 1):
            raise OperatorError(f"the size of blocks is a power of 2, not {size}")
        return cls(image_shape, [0.0] * (levels - 1) + [1.0])

    def _forward(self, x: Tensor) -> Tensor:
        return self._combined(x, self.constant("weights", x))

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._forward(y)

    def _pinv(self, y: Tensor) -> Tensor:
        eigenvalues = self.constant("weights", y).cumsum(1)
        inverse = torch.where(eigenvalues > 1e-6, 1 / eigenvalues.clamp(min=1e-12), 0)
        return self._combined(y, torch.cat([inverse[:, :1], inverse.diff(dim=1)], dim=1))

    def _combined(self, x: Tensor, weights: Tensor) -> Tensor:
        """sum_k weights[:, k] P_k x."""
        total = torch.zeros_like(x)
        for level in range(weights.shape[1]):
            total = total + weights[:, level, None, None, None] * block_means(x, 2**level)
        return total


def block_means(x: Tensor, size: int) -> Tensor:
    """P x: the mean over every block of size x size pixels in place of each of them."""
    if size == 1:
        return x
    means = F.avg_pool2d(x, size, ceil_mode=True, count_include_pad=False)
    large = means.repeat_interleave(size, -2).repeat_interleave(size, -1)
    return large[..., : x.shape[-2], : x.shape[-1]]
