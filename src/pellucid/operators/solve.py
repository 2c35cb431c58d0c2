"""Conjugate gradients for the operators that have no structure to invert by; every image has its own step sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pellucid.typing import dot, expand, norm

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


def pinv_by_cg(
    operator: LinearOperator,
    y: Tensor,
    *,
    tolerance: float | None = None,
    iterations: int = 500,
    enough: Tensor | None = None,
) -> Tensor:
    """A^+ y by conjugate gradients on A^T A x = A^T y from x = 0 (least norm), each image to its own tolerance.

    In the form CGLS, which keeps r = y - A x and never applies A^T A, so that an ill-conditioned A loses half as many
    digits. It stops where |A^T r| <= tolerance |A^T y|, or where |r|^2 <= `enough` (b,): an early stop regularises.
    """
    tolerance = tolerance or (1e-12 if y.dtype == torch.float64 else 1e-6)
    r, s = y, operator._adjoint(y)
    x, p = torch.zeros_like(s), s
    gamma = dot(s, s)
    goal = tolerance**2 * gamma
    for _ in range(iterations):
        active = gamma > goal if enough is None else (gamma > goal) & (dot(r, r) > enough)
        if not active.any():
            break
        a_p = operator._forward(p)
        length = dot(a_p, a_p)
        step = torch.where(active & (length > 0), gamma / torch.where(length > 0, length, 1), 0)
        x = x + expand(step, x) * p
        r = r - expand(step, r) * a_p
        s = operator._adjoint(r)
        new = dot(s, s)
        p = torch.where(expand(active.to(x.dtype), x) > 0, s + expand(new / torch.where(gamma > 0, gamma, 1), x) * p, p)
        gamma = torch.where(active, new, gamma)
    return x


def normal_by_cg(operator: LinearOperator, rhs: Tensor, weight: Tensor) -> Tensor:
    """(A^T A + weight I)^{-1} rhs, weight (b,)."""
    w = expand(weight, rhs)
    return conjugate_gradients(lambda x: operator._adjoint(operator._forward(x)) + w * x, rhs)


def norm_by_power_iteration(operator: LinearOperator, like: Tensor, iterations: int = 100) -> Tensor:
    """The largest singular value of every image, (b,), from below, by power iteration from one frozen start."""
    start = torch.randn(like.shape[1:], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = start.to(like.dtype).to(like.device).expand_as(like)
    for _ in range(iterations):
        x = operator._adjoint(operator._forward(x / expand(norm(x).clamp(min=torch.finfo(x.dtype).tiny), x)))
    return norm(x).sqrt()
