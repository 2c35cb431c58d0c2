"""DDPM (Ho et al., NeurIPS 2020), learned variance (Nichol and Dhariwal, ICML 2021), DDIM (Song et al., ICLR 2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tests.reference.symbols import Draw, Eps, descending, f0, level


def posterior_mean(x0: Tensor, x: Tensor, a: float, a_next: float) -> Tensor:
    """Mean of q(x_{t-1} | x_t, x_0), DDPM (7), with beta of the respaced chain."""
    beta = 1 - a / a_next
    return (a_next**0.5 * beta * x0 + (1 - beta) ** 0.5 * (1 - a_next) * x) / (1 - a)


def posterior_variance(a: float, a_next: float) -> float:
    """betatilde_t, DDPM (7)."""
    return (1 - a_next) / (1 - a) * (1 - a / a_next)


def ancestral(x0: Tensor, x: Tensor, a: float, a_next: float, z: Tensor, v: Tensor | None, large: bool) -> Tensor:
    """One draw of x_{t-1}, DDPM Algorithm 2: variance betatilde, beta (`large`), or learned (v; improved DDPM, 15)."""
    if a_next == 1.0:
        return posterior_mean(x0, x, a, a_next)
    low, high = posterior_variance(a, a_next), 1 - a / a_next
    variance = torch.as_tensor(high if large else low, dtype=x.dtype)
    if v is not None:
        f = (v + 1) / 2
        variance = torch.exp(f * math.log(high) + (1 - f) * math.log(low))
    return posterior_mean(x0, x, a, a_next) + variance.sqrt() * z


def ddpm(
    eps: Eps, abar: Tensor, timesteps: Sequence[int], x: Tensor, draw: Draw, *, large: bool = False, clip: bool = False
) -> Tensor:
    """DDPM Algorithm 2 on a respaced chain; a network of twice the channels brings its variance."""
    for k, (i, j) in enumerate(descending(timesteps)):
        out = eps(x, i)
        e, v = out.chunk(2, dim=1) if out.shape[1] == 2 * x.shape[1] else (out, None)
        x0 = f0(x, e, level(abar, i))
        x0 = x0.clamp(-1, 1) if clip else x0
        x = ancestral(x0, x, level(abar, i), level(abar, j), draw(k, "step", x), v, large)
    return x


def ddim(eps: Eps, abar: Tensor, timesteps: Sequence[int], x: Tensor, draw: Draw, *, eta: float = 0.0) -> Tensor:
    """DDIM (12) with sigma_t of (16)."""
    for k, (i, j) in enumerate(descending(timesteps)):
        x = ddim_step(x, eps(x, i), level(abar, i), level(abar, j), draw(k, "step", x), eta)
    return x


def ddim_step(x: Tensor, e: Tensor, a: float, a_next: float, z: Tensor, eta: float) -> Tensor:
    """x_{t-1} = sqrt(abar') f0 + sqrt(1 - abar' - sigma^2) e + sigma z."""
    sigma = eta * ((1 - a_next) / (1 - a)) ** 0.5 * (1 - a / a_next) ** 0.5
    return a_next**0.5 * f0(x, e, a) + (1 - a_next - sigma**2) ** 0.5 * e + sigma * z
