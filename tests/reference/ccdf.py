"""Come-closer-diffuse-faster: Chung et al., CVPR 2022, Algorithm 1; and with DPS steps, Flash-Diffusion's baseline."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tests.reference.dps import dps
from tests.reference.symbols import Draw, Eps, Map, descending, f0, level
from tests.reference.unconditional import ancestral


def forward(abar: Tensor, top: int, x_init: Tensor, z: Tensor) -> Tensor:
    """x_{t0} = sqrt(abar) x_init + sqrt(1 - abar) z."""
    a = level(abar, top)
    return a**0.5 * x_init + (1 - a) ** 0.5 * z


def ccdf(
    eps: Eps, abar: Tensor, timesteps: Sequence[int], x_init: Tensor, y: Tensor, A: Map, Apinv: Map, draw: Draw,
    *, clip: bool = True,
) -> Tensor:  # fmt: skip
    """x' = the DDPM step, x = (I - A^+ A) x' + A^+ y_s, with y_s = sqrt(abar') y + sqrt(1 - abar') A z."""
    x = forward(abar, timesteps[-1], x_init, draw(0, "start", x_init))
    for k, (i, j) in enumerate(descending(timesteps)):
        a, a_next = level(abar, i), level(abar, j)
        x0 = f0(x, eps(x, i), a)
        x0 = x0.clamp(-1, 1) if clip else x0
        x = ancestral(x0, x, a, a_next, draw(k, "step", x), None, large=False)
        noised = a_next**0.5 * Apinv(y) + (1 - a_next) ** 0.5 * Apinv(A(draw(k, "measurement", x)))
        x = x - Apinv(A(x)) + noised
    return x


def ccdf_dps(
    eps: Eps, abar: Tensor, timesteps: Sequence[int], x_init: Tensor, y: Tensor, A: Map, draw: Draw,
    *, scale: float = 1.0, clip: bool = True,
) -> Tensor:  # fmt: skip
    """The same start, then DPS."""
    x = forward(abar, timesteps[-1], x_init, draw(0, "start", x_init))
    return dps(eps, abar, timesteps, x, y, A, draw, scale=scale, clip=clip)
