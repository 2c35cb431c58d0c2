"""Diffusion model based posterior sampling: Meng and Kabashima, 2022, Algorithm 1."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tests.reference.symbols import Draw, Eps, Svd, descending, f0, level, per_image
from tests.reference.unconditional import ancestral


def dmps(
    eps: Eps,
    abar: Tensor,
    timesteps: Sequence[int],
    x: Tensor,
    y: Tensor,
    svd: Svd,
    sigma_y: float | Tensor,
    draw: Draw,
    *,
    scale: float = 1.75,
    clip: bool = True,
    large: bool = False,
) -> Tensor:
    """The DDPM step x' and a step along the score g of y given the noisy iterate; alpha_t = abar_t / abar_{t-1}.

    g = A^T U [ s^2 (1 - abar_t) / abar_t + sigma_y^2 ]^{-1} U^T (y - A x' / sqrt(abar_t)) / sqrt(abar_t)
    x = x' + scale (1 - alpha_t) / sqrt(alpha_t) g
    """
    for k, (i, j) in enumerate(descending(timesteps)):
        a, a_next = level(abar, i), level(abar, j)
        out = eps(x, i)
        e, v = out.chunk(2, dim=1) if out.shape[1] == 2 * x.shape[1] else (out, None)
        x0 = f0(x, e, a)
        x0 = x0.clamp(-1, 1) if clip else x0
        x = ancestral(x0, x, a, a_next, draw(k, "step", x), v, large)
        variance = svd.s**2 * (1 - a) / a + per_image(sigma_y, svd.Ut(y)) ** 2
        residual = svd.Ut(y) - svd.s * svd.Vt(x) / a**0.5
        g = svd.V(svd.s * residual / variance.clamp(min=1e-300)) / a**0.5
        alpha = a / a_next
        x = x + scale * (1 - alpha) / alpha**0.5 * g
    return x
