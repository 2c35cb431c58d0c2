"""DiffPIR: Zhu et al., Denoising Diffusion Models for Plug-and-Play Image Restoration, CVPRW 2023, Algorithm 1."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tests.reference.symbols import Draw, Eps, Svd, descending, f0, level, per_image


def prox(x0: Tensor, y: Tensor, svd: Svd, rho: Tensor) -> Tensor:
    """argmin_x ||y - A x||^2 + rho ||x - x0||^2, in the basis of A; for rho = 0 the limit, x0 moved onto A x = y."""
    xbar0, ybar = svd.Vt(x0), svd.Ut(y)
    s2 = svd.s**2
    weight = torch.where(s2 + rho > 0, s2 + rho, 1)
    return svd.V(torch.where(svd.s > 0, (svd.s * ybar + rho * xbar0) / weight, xbar0))


def diffpir(
    eps: Eps,
    abar: Tensor,
    timesteps: Sequence[int],
    x: Tensor,
    y: Tensor,
    svd: Svd,
    sigma_n: float | Tensor,
    draw: Draw,
    *,
    lam: float = 7.0,
    zeta: float = 0.3,
) -> Tensor:
    """Lines 3 to 8, rho_t = lambda sigma_n^2 abar_t / (1 - abar_t)."""
    for k, (i, j) in enumerate(descending(timesteps)):
        a, a_next = level(abar, i), level(abar, j)
        x0 = f0(x, eps(x, i), a)
        rho = lam * per_image(sigma_n, svd.Ut(y)) ** 2 * a / (1 - a)
        xhat0 = prox(x0, y, svd, rho)
        ehat = (x - a**0.5 * xhat0) / (1 - a) ** 0.5
        z = draw(k, "step", x)
        x = a_next**0.5 * xhat0 + (1 - a_next) ** 0.5 * ((1 - zeta) ** 0.5 * ehat + zeta**0.5 * z)
    return x
