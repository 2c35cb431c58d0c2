"""k-means, for the first codebook of a vector quantiser."""

from __future__ import annotations

import torch
from torch import Tensor


def kmeans(points: Tensor, count: int, *, seed: int = 0, rounds: int = 6) -> Tensor:
    """Centres of `count` clusters of points (n, d), by Lloyd's rounds from points drawn at random.

    A centre that no point chose stays where it was.

    Raises:
        ValueError: fewer points than centres.
    """
    if len(points) < count:
        raise ValueError(f"{count} centres need at least as many points, not {len(points)}")
    drawn = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))[:count]
    centres = points[drawn.to(points.device)].clone()
    for _ in range(rounds):
        half = centres.square().sum(1) / 2
        index = torch.cat([torch.addmm(half, part, centres.T, alpha=-1).argmin(1) for part in points.split(4096)])
        total = torch.zeros_like(centres).index_add_(0, index, points)
        number = torch.bincount(index, minlength=count)[:, None]
        centres = torch.where(number > 0, total / number.clamp(min=1), centres)
    return centres
