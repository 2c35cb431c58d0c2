"""What feature distances share."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.metrics.errors import MetricError

EPSILON = 1e-10  # beside the length of a feature vector, as in LPIPS


def three_channels(x: Tensor) -> Tensor:
    """Grey pictures (b, 1, h, w) as colour ones of equal channels. Raises `MetricError` for 2 or more than 3."""
    if x.shape[1] == 1:
        return x.expand(-1, 3, -1, -1)
    if x.shape[1] != 3:
        raise MetricError(f"networks of features take grey or RGB pictures, not {x.shape[1]} channels")
    return x


def difference(f: Tensor, g: Tensor) -> Tensor:
    """(f / |f| - g / |g|)^2 for the vectors of channels at every position, (b, c, h, w)."""
    # vector_norm has the gradient 0 where a vector is 0; sqrt of a sum of squares has none there.
    f, g = (v / (torch.linalg.vector_norm(v, dim=1, keepdim=True) + EPSILON) for v in (f, g))
    return (f - g).square()


def distance(f: Tensor, g: Tensor, weight: Tensor | None = None) -> Tensor:
    """The difference summed over channels, weighted if weights (c,) are given, and averaged over positions, (b,)."""
    squares = difference(f, g)
    if weight is not None:
        squares = squares * weight.reshape(1, -1, 1, 1)
    return squares.sum(1).mean((1, 2))
