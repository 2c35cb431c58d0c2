"""ADIR's guidance: Abu-Hussein, Tirer and Giryes, arXiv 2212.03221, eq. (6), (9), (15) and (16)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tests.reference.symbols import Draw, Eps, Map, descending, f0, level, per_image
from tests.reference.unconditional import posterior_mean, posterior_variance


def adir(
    eps: Eps,
    abar: Tensor,
    timesteps: Sequence[int],
    x: Tensor,
    y: Tensor,
    A: Map,
    At: Map,
    draw: Draw,
    *,
    s: float | None = 1.0,
    norm: Tensor | None = None,
    sigma: Tensor | None = None,
    own_noise: bool = False,
) -> Tensor:
    """mu, Sigma from the network; y' = sqrt(abar) y + c A eps; g = -2 A^T (A mu - y'); x = mu + s Sigma g + noise.

    abar is that of the variable being sampled, c = sqrt(1 - abar), or with `own_noise` the share of eps in mu. Where x0
    is clipped, eps is what goes with it. With s = None, s Sigma = min(1 / (2 |A|^2), Sigma / (2 sigma^2)).
    """
    for k, (i, j) in enumerate(descending(timesteps)):
        a, a_next = level(abar, i), level(abar, j)
        out = eps(x, i)
        e, v = out.chunk(2, dim=1) if out.shape[1] == 2 * x.shape[1] else (out, None)
        x0 = f0(x, e, a).clamp(-1, 1)
        e = (x - a**0.5 * x0) / (1 - a) ** 0.5
        mu = posterior_mean(x0, x, a, a_next)
        low, high = posterior_variance(a, a_next), 1 - a / a_next
        Sigma = torch.full_like(x, low)
        if v is not None and low > 0:
            Sigma = torch.exp((v + 1) / 2 * math.log(high) + (1 - v) / 2 * math.log(low))
        share = (1 - a_next) * (a / a_next / (1 - a)) ** 0.5  # of eps in mu
        c = share if own_noise else (1 - a_next) ** 0.5
        g = -2 * At(A(mu) - (a_next**0.5 * y + c * A(e)))
        if s is None:
            assert norm is not None and sigma is not None
            step = torch.minimum(per_image(1 / (2 * norm**2), x).expand_as(x), Sigma / per_image(2 * sigma**2, x))
        else:
            step = s * Sigma
        x = mu + step * g + Sigma.sqrt() * draw(k, "step", x)
    return x
