"""What the transcriptions share: names for their inputs, and abar with its end point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Eps = Callable[[Tensor, int], Tensor]
"""eps(x, i): the network at timestep i."""

Map = Callable[[Tensor], Tensor]
"""A linear (or not) map on batches: A, its adjoint, its pseudo-inverse."""

Draw = Callable[[int, str, Tensor], Tensor]
"""draw(step, purpose, like): standard normal noise of the shape of `like`."""


@dataclass(frozen=True)
class Svd:
    """A = U diag(s) V^T; spectra have the picture's size, and s = 0 where there is no singular value."""

    s: Tensor
    Vt: Map
    V: Map
    Ut: Map
    U: Map


def level(abar: Tensor, i: int) -> float:
    """abar_i, and 1 for i < 0: a clean picture."""
    return 1.0 if i < 0 else float(abar[i])


def f0(x: Tensor, e: Tensor, a: float) -> Tensor:
    """The picture that eps leaves: (x - sqrt(1 - abar) e) / sqrt(abar)."""
    return (x - (1 - a) ** 0.5 * e) / a**0.5


def descending(timesteps: Sequence[int]) -> list[tuple[int, int]]:
    """(i, the next lower timestep of the list or -1), from the top of an ascending list down."""
    return list(zip(reversed(timesteps), [*reversed(timesteps[:-1]), -1], strict=True))


def per_image(value: float | Tensor, like: Tensor) -> Tensor:
    """A number, or one number an image, ready to multiply a batch."""
    v = torch.as_tensor(value, dtype=like.dtype)
    return v.reshape(-1, *(1,) * (like.ndim - 1)) if v.ndim else v


def norms(r: Tensor) -> Tensor:
    """The Euclidean norm of every image, (b,)."""
    return r.flatten(1).pow(2).sum(1).sqrt()
