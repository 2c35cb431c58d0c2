"""A parameter that runs linearly through values at evenly spaced times."""

from __future__ import annotations

import torch
from torch import Tensor


def value_at(knots: Tensor, t: Tensor) -> Tensor:
    """The parameter at times t in [0, 1], in the shape of t; `knots` (n,) are its values at 0, 1 / (n - 1), ..., 1."""
    place = t * (len(knots) - 1)
    left = place.long().clamp(max=len(knots) - 2)
    return torch.lerp(knots[left], knots[left + 1], place - left)


def time_at(knots: Tensor, value: Tensor) -> Tensor:
    """The smallest t at which a parameter that does not fall is at least `value`; inf above its last value."""
    value = value.double().contiguous()
    right = torch.searchsorted(knots, value).clamp(1, len(knots) - 1)
    low, high = knots[right - 1], knots[right]
    share = torch.where(high > low, (value - low) / torch.where(high > low, high - low, 1), 0).clamp(min=0)
    t = ((right - 1 + share) / (len(knots) - 1)).clamp(max=1)
    return torch.where(value <= knots[0], 0, torch.where(value > knots[-1] + 1e-9, torch.inf, t))
