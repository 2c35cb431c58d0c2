"""Without diffusion: plug-and-play ADMM (Venkatakrishnan et al., 2013) and total variation by proximal ADMM."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.reference.symbols import Map


def pnp_admm(denoise: Map, solve: Map, Aty: Tensor, x: Tensor, rho: float, iterations: int) -> Tensor:
    """x = argmin 1/2 ||y - A x||^2 + rho/2 ||x - (z - u)||^2, z = D(x + u), u = u + x - z; from z = x, u = 0.

    Args:
        denoise: D.
        solve: r -> (A^T A + rho I)^{-1} r.
        Aty: A^T y.
        x: where to begin.
        rho: the penalty.
        iterations: how many.
    """
    z, u = x, torch.zeros_like(x)
    for _ in range(iterations):
        x = solve(Aty + rho * (z - u))
        z = denoise(x + u)
        u = u + x - z
    return z


def differences(x: Tensor) -> Tensor:
    """D x: forward differences down and right, 0 at the far edge (append = 0): (b, c, 2, h, w)."""
    down = torch.cat([x[..., 1:, :] - x[..., :-1, :], torch.zeros_like(x[..., :1, :])], dim=-2)
    right = torch.cat([x[..., :, 1:] - x[..., :, :-1], torch.zeros_like(x[..., :, :1])], dim=-1)
    return torch.stack([down, right], dim=2)


def shrink(d: Tensor, threshold: float) -> Tensor:
    """The proximal map of threshold * sum_i sqrt(sum_j d_ij^2), j over the two directions."""
    length = d.pow(2).sum(2, keepdim=True).sqrt()
    return torch.where(length > threshold, (1 - threshold / torch.where(length > 0, length, 1)) * d, torch.zeros_like(d))
