"""DiracDiffusion: Fabian, Tinaz and Soltanolkotabi, ICML 2024, Algorithm 1, one image at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def sigma(t: float, low: float = 0.01, high: float = 0.05) -> float:
    """The noise schedule."""
    return float(low * (high / low) ** t)


def algorithm_1(
    phi: Callable[[Tensor, float], Tensor],
    A: Callable[[Tensor, float], Tensor],
    y: Tensor,
    steps: int,
    draw: Callable[[int], Tensor],
    *,
    noise: tuple[float, float] = (0.01, 0.05),
    stop: float = 0.0,
    update: str = "look_ahead",
    small: float = 0.01,
    eta: float | None = None,
    relative: bool = False,
    ascend: bool = False,
    strictly_below: bool = False,
    x0_last: bool = True,
) -> tuple[Tensor, int]:
    """(the reconstruction of one measurement y, (1, c, h, w), network calls).

    phi(y, sigma) is the network, A(x, t) the degradation. `ascend` and `strictly_below` are the code's; the paper
    descends, and ends at t <= stop.
    """
    dt, yr, calls = 1.0 / steps, y, 0
    for i in range(steps):
        t, tn = (steps - i) / steps, (steps - i - 1) / steps
        S, Sn = sigma(t, *noise), sigma(tn, *noise)
        leaf = yr.clone().requires_grad_(eta is not None)
        x0 = phi(leaf, S)
        calls += 1
        correction = torch.zeros_like(y)
        if eta is not None:
            r = y - A(x0, 1.0)
            size = (r * r).sum()
            (g,) = torch.autograd.grad(size, leaf)
            c = eta / float(size.detach()) ** 0.5 if relative else eta * 0.5 / sigma(1.0, *noise) ** 2
            correction = (1 if ascend else -1) * (S**2 - Sn**2) * c * g
        x0 = x0.detach()
        yh = A(x0, t)
        denoising = (yh - yr) * (S**2 - Sn**2) / S**2 + correction
        d = small if update.startswith("small") else dt
        if update.endswith("look_ahead") or t + d > 1 - 1e-9:
            R = (A(x0, t - d if update.startswith("small") else tn) - yh) * dt / d
        else:
            R = (yh - A(x0, t + d)) * dt / d
        reached = tn < stop - 1e-9 if strictly_below else tn <= stop + 1e-9
        last = i == steps - 1 or reached
        if last and x0_last:
            return x0, calls
        yr = yr + R + denoising + draw(i) * (S**2 - Sn**2) ** 0.5
        if last:
            break
    return yr, calls
