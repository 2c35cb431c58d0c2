"""RED-diff: Mardani et al., A Variational Perspective on Inverse Problems with Diffusion Models, Algorithm 1."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tests.reference.symbols import Draw, Eps, Map, f0, level, norms, per_image


def red_diff(
    eps: Eps,
    abar: Tensor,
    timesteps: Sequence[int],
    mu: Tensor,
    y: Tensor,
    A: Map,
    sigma_y: float | Tensor,
    draw: Draw,
    *,
    lam: float = 0.25,
    lr: float = 0.1,
    clip: bool = False,
) -> Tensor:
    """Adam on ||y - A(mu)||^2 / (2 sigma_y^2) + lambda_t <sg(eps_theta - eps), mu>, lambda_t = lam / snr_t."""
    mu = mu.clone().requires_grad_()
    adam = torch.optim.Adam([mu], lr=lr)
    for k, i in enumerate(reversed(timesteps)):
        a = level(abar, i)
        n = draw(k, "step", mu)
        x_t = (a**0.5 * mu + (1 - a) ** 0.5 * n).detach()
        e = eps(x_t, i)
        if clip:
            e = (x_t - a**0.5 * f0(x_t, e, a).clamp(-1, 1)) / (1 - a) ** 0.5
        misfit = (norms(y - A(mu)) ** 2 / (2 * per_image(sigma_y, y).flatten() ** 2)).sum()
        adam.zero_grad()
        with torch.enable_grad():
            loss = misfit + lam * (1 / a - 1) ** 0.5 * ((e - n) * mu).sum()
        loss.backward()
        adam.step()
    return mu.detach()
