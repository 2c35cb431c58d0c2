"""Shortcut sampling for diffusion, SSD and SSD+: Liu et al., IJCAI 2024, equations (11) and (17), Algorithm 1.

The constants of the authors' code: x0 clamped and e not recomputed, beta of the respaced list, eta' = 0.8 going down.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from tests.reference.symbols import Draw, Eps, Map, f0, level


def steps(t0: int, n: int) -> list[int]:
    """n timesteps 0 .. t0 - 1, evenly spaced, added up in floating point and rounded half to even."""
    taus, tau = [], 0.0
    for _ in range(n):
        taus.append(round(tau))
        tau += (t0 - 1) / (n - 1)
    return taus


def invert(eps: Eps, abar: Tensor, taus: Sequence[int], x: Tensor, draw: Draw, eta: float, clip: bool) -> Tensor:
    """Distortion-adaptive inversion (11), from x as the state at taus[0] up to taus[-1]."""
    for j, (tau, up) in enumerate(pairwise(taus)):
        a, a_up = level(abar, tau), level(abar, up)
        beta = 1 - a_up / a
        e = eps(x, tau)[:, : x.shape[1]]
        x0 = f0(x, e, a)
        x0 = x0.clamp(-1, 1) if clip else x0
        x = a_up**0.5 * x0 + (1 - a_up - eta * beta) ** 0.5 * e + (eta * beta) ** 0.5 * draw(j, "ascend", x)
    return x


def ssd(
    eps: Eps,
    abar: Tensor,
    t0: int,
    n_inv: int,
    n_gen: int,
    y: Tensor,
    A: Map,
    Apinv: Map,
    draw: Draw,
    *,
    eta: float = 0.4,
    eta_gen: float = 0.8,
    t_stop: int | None = None,
    clip: bool = True,
) -> Tensor:
    """A^+ y, inverted to t0, and down again with the back-projection (17); SSD+ lets go below t_stop."""
    x = invert(eps, abar, steps(t0, n_inv), Apinv(y), draw, eta, clip)
    down = [*reversed(steps(t0, n_gen)), -1]
    projected = n_gen if t_stop is None else int((t0 - t_stop) / t0 * n_gen)
    for k, (tau, low) in enumerate(pairwise(down)):
        a = level(abar, low)
        e = eps(x, tau)[:, : x.shape[1]]
        x0 = f0(x, e, level(abar, tau))
        x0 = x0.clamp(-1, 1) if clip else x0
        if k < projected:
            x0 = x0 - Apinv(A(x0)) + Apinv(y)
        z = draw(k, "step", x)
        x = a**0.5 * x0 + (1 - a) ** 0.5 * ((1 - eta_gen**2) ** 0.5 * e + eta_gen * z)
    return x
