"""Conjugate gradients for the operators that have no structure to invert by; every image has its own step sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pellucid.typing import dot, expand

if TYPE_CHECKING:
    from pellucid.operators.base import LinearOperator


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor], rhs: Tensor, *, tolerance: float | None = None, iterations: int = 500
) -> Tensor:
    """Solves K x = rhs for a symmetric K >= 0, from x = 0, each image to |rhs - K x| <= tolerance |rhs|.

    Args:
        apply: x -> K x on a batch, image by image.
        rhs: (b, ...); for a singular K it must lie in the range of K.
        tolerance: relative; by default 1e-6 in float32 and 1e-12 in float64.
        iterations: at most; an image that stops early keeps its solution to the bit.
    """
    tolerance = tolerance or (1e-12 if rhs.dtype == torch.float64 else 1e-6)
    x, r = torch.zeros_like(rhs), rhs.clone()
    p, rr = r.clone(), dot(r, r)
    goal = tolerance**2 * rr
    for _ in range(iterations):
        active = rr > goal
        if not active.any():
            break
        k_p = apply(p)
        p_kp = dot(p, k_p)
        step = torch.where(active & (p_kp > 0), rr / torch.where(p_kp > 0, p_kp, 1), 0)
        x = x + expand(step, x) * p
        r = r - expand(step, x) * k_p
        new = dot(r, r)
        p = torch.where(expand(active.to(x.dtype), x) > 0, r + expand(new / torch.where(rr > 0, rr, 1), x) * p, p)
        rr = torch.where(active, new, rr)
    return x


def pinv_by_cg(operator: LinearOperator, y: Tensor) -> Tensor:
    """A^+ y: conjugate gradients on A^T A x = A^T y from x = 0, which stay in the range of A^T (least norm)."""
    return conjugate_gradients(lambda x: operator._adjoint(operator._forward(x)), operator._adjoint(y))


def normal_by_cg(operator: LinearOperator, rhs: Tensor, weight: Tensor) -> Tensor:
    """(A^T A + weight I)^{-1} rhs, weight (b,)."""
    w = expand(weight, rhs)
    return conjugate_gradients(lambda x: operator._adjoint(operator._forward(x)) + w * x, rhs)
