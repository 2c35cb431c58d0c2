"""Denoising diffusion null-space model: Wang et al., ICLR 2023, Algorithms 1 and 2; DDNM+, (17) to (19)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

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
    for k, (i, j) in enumerate(pairwise(times)):
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
    A: Map,
    Apinv: Map,
    svd: Svd,
    sigma_y: float | Tensor,
    draw: Draw,
    *,
    eta: float = 0.85,
    released: bool = False,
) -> Tensor:
    """As `ddnm`, with the measurement's noise made part of the noise at t, per component of V.

    xhat = x0 - V Lambda V^T A^+ (A x0 - y)                                      (17)
    x_{t-1} = sqrt(abar') xhat + V (c_z V^T z + c_e V^T e)                       (18), (19) and appendix I

    The authors' code, which is `released`, leaves out both V^T of the noise. It is then still white.
    """
    turn = (lambda w: w) if released else svd.Vt
    x0 = x
    for k, (i, j) in enumerate(pairwise(times)):
        a = level(abar, j)
        if j > i:
            x = a**0.5 * x0 + (1 - a) ** 0.5 * draw(k, "climb", x)
            continue
        e = eps(x, i)
        x0 = f0(x, e, level(abar, i))
        lam, c_z, c_e = weights(svd.s, a**0.5, (1 - a) ** 0.5, per_image(sigma_y, svd.Vt(x0)), eta)
        xhat = x0 - svd.V(lam * svd.Vt(Apinv(A(x0) - y)))
        x = a**0.5 * xhat + svd.V(c_z * turn(draw(k, "step", x)) + c_e * turn(e))
    return x


def weights(s: Tensor, a: float, st: float, sy: Tensor, eta: float) -> tuple[Tensor, Tensor, Tensor]:
    """(lambda, weight of z, weight of e) of every component; a = sqrt(abar'), st = sqrt(1 - abar')."""
    seen = s > 0
    noise = a * sy / torch.where(seen, s, 1)
    zero = torch.zeros_like(noise)
    lam = torch.where(seen & (st < noise), s * st * (1 - eta**2) ** 0.5 / (a * torch.where(sy > 0, sy, 1)), zero + 1)
    strong = seen & (st > noise)
    c_z = torch.where(strong, (st**2 - noise**2).clamp(min=0).sqrt(), zero + eta * st)
    return lam, c_z, torch.where(seen, zero, zero + (1 - eta**2) ** 0.5 * st)
