"""Latent-DPS, GML-DPS (Adapt and Diffuse, ICML 2024, as run) and PSLD (Rout et al., NeurIPS 2023, Algorithm 2).

Pictures are D(z) in [-1, 1], y and A are in that range.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tests.reference.symbols import Draw, Eps, Map, descending, f0, level, norms
from tests.reference.unconditional import ancestral


def ldps(
    eps: Eps,
    abar: Tensor,
    timesteps: Sequence[int],
    z: Tensor,
    y: Tensor,
    A: Map,
    D: Map,
    draw: Draw,
    *,
    eta: float = 1.0,
    w: float = 0.0,
    glue: Map | None = None,
    squared: bool = False,
    clip: bool = False,
) -> Tensor:
    """z <- z' - grad_z (eta ||y - A(D(z0))|| + w ||z0 - glue(z0)||), z' ancestral; one norm an image.

    `squared`: eta_t grad ||.||^2 with eta_t = eta / ||.||, as the papers print the first term.
    """
    for k, (i, j) in enumerate(descending(timesteps)):
        z_t = z.detach().requires_grad_()
        e = eps(z_t, i)
        z0 = f0(z_t, e, level(abar, i))
        z0 = z0.clamp(-1, 1) if clip else z0
        moved = ancestral(z0, z_t, level(abar, i), level(abar, j), draw(k, "step", z), None, False)
        r = norms(y - A(D(z0)))
        loss = eta * (r**2 / r.detach() if squared else r)
        if glue is not None:
            loss = loss + w * norms(z0 - glue(z0))
        (gradient,) = torch.autograd.grad(loss.sum(), z_t)
        z = moved.detach() - gradient
    return z


def psld(
    eps: Eps,
    abar: Tensor,
    timesteps: Sequence[int],
    z: Tensor,
    y: Tensor,
    A: Map,
    At: Map,
    D: Map,
    E: Map,
    draw: Draw,
    *,
    omega: float = 1.0,
    gamma: float = 0.1,
    noiser: float = 0.0,
    clip: bool = False,
) -> Tensor:
    """DDIM (eta 0): z <- z' - grad_z (omega ||A D(z0) + n - y|| + gamma ||E(A^T y + D(z0) - A^T A D(z0)) - z0||)."""
    for k, (i, j) in enumerate(descending(timesteps)):
        a, b = level(abar, i), level(abar, j)
        z_t = z.detach().requires_grad_()
        e = eps(z_t, i)
        z0 = f0(z_t, e, a)
        z0 = z0.clamp(-1, 1) if clip else z0
        e = (z_t - a**0.5 * z0) / (1 - a) ** 0.5
        x0 = D(z0)
        measured = A(x0) + noiser * draw(k, "noiser", y)
        glued = E(At(y) + x0 - At(A(x0)))
        loss = omega * norms(measured - y) + gamma * norms(glued - z0)
        (gradient,) = torch.autograd.grad(loss.sum(), z_t)
        z = (b**0.5 * z0 + (1 - b) ** 0.5 * e).detach() - gradient
    return z
