"""Denoising diffusion null-space model: Wang et al., ICLR 2023, Algorithms 1 and 2 (time travel), DDNM+ of (17) to (19)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tests.reference.symbols import Draw, Eps, Map, Svd, f0, level, per_image


def ddnm(
    eps: Eps,
    abar: Tensor,
    times: Sequence[int],
    x: Tensor,
    y: Tensor,
    A: Map,
    Apinv: Map,
    draw: Draw,
    *,
    eta: float = 0.85,
) -> Tensor:
    """`times` ends in -1 and may rise: there x0, not yet projected, is noised again (the authors' time travel).

    xhat = x0 - A^+ (A x0 - y)                                                   (13)
    x_{t-1} = sqrt(abar') xhat + sqrt(1 - abar') (eta z + sqrt(1 - eta^2) e)     (14), the authors' variance
    """
    x0 = x
    for k, (i, j) in enumerate(zip(times, times[1:])):
        a = level(abar, j)
        if j > i:
            x = a**0.5 * x0 + (1 - a) ** 0.5 * draw(k, "climb", x)
            continue
        e = eps(x, i)
        x0 = f0(x, e, level(abar, i))
        xhat = x0 - Apinv(A(x0) - y)
        x = a**0.5 * xhat + (1 - a) ** 0.5 * (eta * draw(k, "step", x) + (1 - eta**2) ** 0.5 * e)
    return x


def ddnm_plus(
    eps: Eps,
    abar: Tensor,
    times: Sequence[int],
    x: Tensor,
    y: Tensor,
    svd: Svd,
    sigma_y: float | Tensor,
    draw: Draw,
    *,
    eta: float = 0.85,
    spectral_noise: bool = True,
) -> Tensor:
    """As `ddnm` with Sigma_t and Phi_t of (19), per component, so that the measurement's noise is part of the noise at t.

    Without `spectral_noise`, z and e are weighted as if they were spectra (the authors' deblurring operators).
    """
    inverse = torch.where(svd.s > 0, 1 / torch.where(svd.s > 0, svd.s, 1), 0)
    turn = svd.Vt if spectral_noise else (lambda w: w.permute(0, 2, 3, 1).flatten(1).reshape(svd.Vt(w).shape))
    x0 = x
    for k, (i, j) in enumerate(zip(times, times[1:])):
        a = level(abar, j)
        if j > i:
            x = a**0.5 * x0 + (1 - a) ** 0.5 * draw(k, "climb", x)
            continue
        e = eps(x, i)
        x0 = f0(x, e, level(abar, i))
        xbar0 = svd.Vt(x0)
        lam, c_z, c_e = weights(svd.s, inverse, a**0.5, (1 - a) ** 0.5, per_image(sigma_y, xbar0), eta)
        xhat = xbar0 - lam * inverse * (svd.s * xbar0 - svd.Ut(y))
        x = svd.V(a**0.5 * xhat + c_z * turn(draw(k, "step", x)) + c_e * turn(e))
    return x


def weights(s: Tensor, inverse: Tensor, a: float, st: float, sy: Tensor, eta: float) -> tuple[Tensor, Tensor, Tensor]:
    """(lambda, weight of z, weight of e) of every component; a = sqrt(abar'), st = sqrt(1 - abar')."""
    seen, noise = s > 0, a * sy * inverse
    zero = torch.zeros_like(noise)
    lam = torch.where(seen & (st < noise), s * st * (1 - eta**2) ** 0.5 / (a * torch.where(sy > 0, sy, 1)), zero + 1)
    c_z = torch.where(st > noise, (st**2 - noise**2).clamp(min=0).sqrt(), zero + eta * st)
    c_z = torch.where(seen, c_z, zero + eta * st)
    return lam, c_z, torch.where(seen, zero, zero + (1 - eta**2) ** 0.5 * st)
