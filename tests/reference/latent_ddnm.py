"""DDNM (Wang et al., ICLR 2023, Algorithm 1) on decoded estimates, letting go of what y knows less than z_t."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tests.reference.symbols import Draw, Eps, Map, Svd, descending, f0, level, per_image


def latent_ddnm(
    eps: Eps,
    abar: Tensor,
    timesteps: Sequence[int],
    z: Tensor,
    y: Tensor,
    svd: Svd,
    sigma_y: float | Tensor,
    D: Map,
    E: Map,
    draw: Draw,
    *,
    eta: float = 0.85,
    louder: float = 1.0,
    residual_code: bool = True,
) -> Tensor:
    """zhat0 = E(x - V M S^+ (S V^T x - U^T y)), x = D(z0), M = 1 where sigma_y / s < louder sqrt(1 / abar - 1)."""
    inverse = torch.where(svd.s > 0, 1 / torch.where(svd.s > 0, svd.s, 1), 0)
    for k, (i, j) in enumerate(descending(timesteps)):
        a, a_next = level(abar, i), level(abar, j)
        e = eps(z, i)
        z0 = f0(z, e, a)
        x = D(z0)
        known = (svd.s > 0) & (per_image(sigma_y, x) * inverse < louder * (1 / a - 1) ** 0.5)
        projected = E(x - svd.V(known * (svd.Vt(x) - inverse * svd.Ut(y))))
        zhat0 = z0 + projected - E(x) if residual_code else projected
        n = draw(k, "step", z)
        z = a_next**0.5 * zhat0 + (1 - a_next) ** 0.5 * (eta * n + (1 - eta**2) ** 0.5 * e)
    return z
