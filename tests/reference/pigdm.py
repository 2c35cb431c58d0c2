"""Pseudoinverse-guided diffusion models: Song et al., ICLR 2023, equation (7).

Algorithm 1 there keeps eps and adds sqrt(abar_t) r_t^2 g to the DDIM step, an approximation of the same score.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tests.reference.symbols import Draw, Eps, Svd, descending, f0, level, per_image
from tests.reference.unconditional import ddim_step


def gradient(
    eps: Eps, x: Tensor, i: int, a: float, y: Tensor, svd: Svd, sigma_y: float | Tensor
) -> tuple[Tensor, Tensor]:
    """(g, e), g = J^T A^T (r^2 A A^T + sigma_y^2 I)^{-1} (y - A x0), r^2 = 1 - abar_t, J = d x0 / d x_t."""
    x_t = x.detach().requires_grad_()
    e = eps(x_t, i)
    x0 = f0(x_t, e, a)
    sy = per_image(sigma_y, svd.Ut(y))
    variance = ((1 - a) * svd.s**2 + sy**2).clamp(min=1e-300)
    v = svd.V(svd.s * (svd.Ut(y) - svd.s * svd.Vt(x0.detach())) / variance)
    (g,) = torch.autograd.grad(x0, x_t, v)
    return g, e.detach()


def pigdm(
    eps: Eps,
    abar: Tensor,
    timesteps: Sequence[int],
    x: Tensor,
    y: Tensor,
    svd: Svd,
    sigma_y: float | Tensor,
    draw: Draw,
    *,
    eta: float = 1.0,
) -> Tensor:
    """The score that (7) gives, score + g, in DDIM: eps' = eps - sqrt(1 - abar_t) g, and x0' from it."""
    for k, (i, j) in enumerate(descending(timesteps)):
        a, a_next = level(abar, i), level(abar, j)
        g, e = gradient(eps, x, i, a, y, svd, sigma_y)
        x = ddim_step(x, e - (1 - a) ** 0.5 * g, a, a_next, draw(k, "step", x), eta)
    return x
