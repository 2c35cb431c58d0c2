"""Manifold constrained gradients: Chung et al., NeurIPS 2022, Algorithm 1, in its inpainting form."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tests.reference.symbols import Draw, Eps, Map, descending, f0, level, norms
from tests.reference.unconditional import ancestral


def mcg(
    eps: Eps,
    abar: Tensor,
    timesteps: Sequence[int],
    x: Tensor,
    y: Tensor,
    A: Map,
    Apinv: Map,
    draw: Draw,
    *,
    scale: float = 1.0,
    clip: bool = True,
    released: bool = False,
) -> Tensor:
    """x <- (I - A^+ A)(x' - scale grad ||y - A(x0)||) + A^+ y_s, y_s = sqrt(abar) y + sqrt(1 - abar) A z.

    For a mask, A^+ A = m. The paper noises y to the level that the step leads to, the authors' code, which is
    `released`, to the one that it comes from.
    """
    for k, (i, j) in enumerate(descending(timesteps)):
        x_t = x.detach().requires_grad_()
        out = eps(x_t, i)
        e, v = out.chunk(2, dim=1) if out.shape[1] == 2 * x.shape[1] else (out, None)
        x0 = f0(x_t, e, level(abar, i))
        x0 = x0.clamp(-1, 1) if clip else x0
        moved = ancestral(x0, x_t, level(abar, i), level(abar, j), draw(k, "step", x), v, large=False)
        (gradient,) = torch.autograd.grad(norms(y - A(x0)).sum(), x_t)
        a = level(abar, i if released else j)
        noised = a**0.5 * Apinv(y) + (1 - a) ** 0.5 * Apinv(A(draw(k, "measurement", x)))
        free = moved.detach() - scale * gradient
        x = free - Apinv(A(free)) + noised
    return x
