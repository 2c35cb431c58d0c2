"""Small helpers on shapes that every file needs."""

from __future__ import annotations

import torch
from torch import Tensor

Shape = tuple[int, ...]


def expand(coefficient: Tensor | float, like: Tensor) -> Tensor:
    """A per-image coefficient, (b,) or (), as (b, 1, 1, ...) in the dtype and on the device of `like`.

    Schedules are computed in float64 and rounded here, once, where they meet the picture. A coefficient that already
    has the picture's number of dimensions (a per-pixel variance) is only converted.
    """
    c = torch.as_tensor(coefficient)
    if c.ndim not in (0, like.ndim):
        c = c.reshape(-1, *(1,) * (like.ndim - 1))
    return c.to(device=like.device, dtype=real_dtype(like.dtype))


def real_dtype(dtype: torch.dtype) -> torch.dtype:
    """The real dtype of the same precision: complex64 -> float32, complex128 -> float64, others unchanged."""
    return {torch.complex64: torch.float32, torch.complex128: torch.float64}.get(dtype, dtype)


def norm(x: Tensor) -> Tensor:
    """Euclidean norm of every image on its own: (b, ...) -> (b,). Never over the batch."""
    return torch.linalg.vector_norm(x.flatten(1), dim=1)


def dot(x: Tensor, y: Tensor) -> Tensor:
    """Inner product of every image on its own: (b, ...), (b, ...) -> (b,)."""
    return (x.conj() * y).flatten(1).sum(1).real
