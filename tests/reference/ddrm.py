"""Denoising diffusion restoration models: Kawar et al., NeurIPS 2022, equations (7) and (8), in the VE picture there.

sigma_t = sqrt((1 - abar_t) / abar_t), xbar = V^T x_t / sqrt(abar_t), ybar = S^+ U^T y.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tests.reference.symbols import Draw, Eps, Svd, descending, f0, level, per_image


def start(
    abar: Tensor, top: int, y: Tensor, svd: Svd, sigma_y: float | Tensor, z: Tensor, released: bool = False
) -> Tensor:
    """x_T of (7): N(ybar, sigma_T^2 - sigma_y^2 / s^2) where s sigma_T > sigma_y, else N(0, sigma_T^2).

    The authors' code divides it by sigma_T where the change of variables is a product with sqrt(abar_T).
    """
    a = level(abar, top)
    sigma = ((1 - a) / a) ** 0.5
    sy, seen = per_image(sigma_y, z), svd.s > 0
    s = torch.where(seen, svd.s, torch.ones_like(svd.s))
    known = seen & (s * sigma > sy)
    informed = svd.Ut(y) / s + (sigma**2 - sy**2 / s**2).clamp(min=0).sqrt() * z
    return (1 / sigma if released else a**0.5) * svd.V(torch.where(known, informed, sigma * z))


def ddrm(
    eps: Eps,
    abar: Tensor,
    timesteps: Sequence[int],
    y: Tensor,
    svd: Svd,
    sigma_y: float | Tensor,
    draw: Draw,
    like: Tensor,
    *,
    eta: float = 0.85,
    eta_b: float = 1.0,
    released: bool = False,
) -> Tensor:
    """(8), component by component, from the start of (7). Pictures n are drawn, like `like`, and z = V^T n."""
    x = start(abar, timesteps[-1], y, svd, sigma_y, svd.Vt(draw(0, "start", like)), released)
    for k, (i, j) in enumerate(descending(timesteps)):
        e = eps(x, i)
        xbar0 = svd.Vt(f0(x, e, level(abar, i)))
        a, z = level(abar, j), svd.Vt(draw(k, "step", x))
        x = a**0.5 * svd.V(step(xbar0, svd.Vt(e), y, svd, sigma_y, ((1 - a) / a) ** 0.5, z, eta, eta_b))
    return x


def step(
    xbar0: Tensor,
    ebar: Tensor,
    y: Tensor,
    svd: Svd,
    sigma_y: float | Tensor,
    sigma: float,
    z: Tensor,
    eta: float,
    eta_b: float,
) -> Tensor:
    """xbar at the next noise level sigma, the three cases of (8)."""
    sy, seen, c = per_image(sigma_y, z), svd.s > 0, (1 - eta**2) ** 0.5
    s = torch.where(seen, svd.s, torch.ones_like(svd.s))
    unseen = xbar0 + c * sigma * ebar + eta * sigma * z
    noisier = xbar0 + c * sigma * (svd.Ut(y) - svd.s * xbar0) / torch.where(sy > 0, sy, 1) + eta * sigma * z
    cleaner = (1 - eta_b) * xbar0 + eta_b * svd.Ut(y) / s + (sigma**2 - eta_b**2 * sy**2 / s**2).clamp(min=0).sqrt() * z
    result = torch.where(seen & (s * sigma < sy), noisier, unseen)
    return torch.where(seen & (s * sigma > sy), cleaner, result)
