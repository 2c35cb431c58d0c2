"""DAPS: Zhang et al., Improving Diffusion Inverse Problem Solving with Decoupled Noise Annealing, Algorithm 1."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from tests.reference.symbols import Draw, Eps, Map, descending, f0, level, per_image


def timestep_at(abar: Tensor, S: float) -> int:
    """The timestep whose noise level sqrt(1 / abar - 1) is nearest to S, ln abar taken as linear between them."""
    wanted, before = -math.log1p(S**2), 0.0
    for i, value in enumerate(abar.log().tolist()):
        if value <= wanted:
            return max(round(i + (wanted - before) / (value - before)) - 1, 0)
        before = value
    return len(abar) - 1


def daps(
    eps: Eps,
    abar: Tensor,
    timesteps: Sequence[int],
    x: Tensor,
    y: Tensor,
    A: Map,
    At: Map,
    largest: Tensor,
    sigma_y: Tensor,
    draw: Draw,
    *,
    ode_steps: int = 5,
    langevin_steps: int = 100,
    share: float = 0.5,
    rho: float = 7.0,
    lowest: float = 0.01,
    clip: bool = False,
) -> Tensor:
    """Lines 2 to 8, r_t = sqrt(1 / abar_t - 1), eta_t = share / (largest^2 / sigma_y^2 + 1 / r_t^2).

    The ODE's levels fall from S_t to `lowest` as EDM's do.
    """
    sigma2, top2 = per_image(sigma_y, x) ** 2, per_image(largest, x) ** 2
    for k, (i, j) in enumerate(descending(timesteps)):
        a, a_next = level(abar, i), level(abar, j)
        r = (1 / a - 1) ** 0.5
        inner, at, x0 = x, i, x
        for m in range(ode_steps):
            if m:
                end = min(r, lowest) ** (1 / rho)
                S = (r ** (1 / rho) + m / ode_steps * (end - r ** (1 / rho))) ** rho
                below = min(timestep_at(abar, S), at)
                e = (inner - level(abar, at) ** 0.5 * x0) / (1 - level(abar, at)) ** 0.5
                inner = level(abar, below) ** 0.5 * x0 + (1 - level(abar, below)) ** 0.5 * e
                at = below
            x0 = f0(inner, eps(inner, at), level(abar, at))
            x0 = x0.clamp(-1, 1) if clip else x0
        eta = share / (top2 / sigma2 + 1 / r**2)
        v = x0
        for n in range(langevin_steps):
            gradient = At(A(v) - y) / sigma2 + (v - x0) / r**2
            v = v - eta * gradient + (2 * eta) ** 0.5 * draw(k, f"langevin {n}", x)
        x = a_next**0.5 * v + (1 - a_next) ** 0.5 * draw(k, "step", x)
    return x
