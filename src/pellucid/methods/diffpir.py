"""Denoising diffusion models for plug-and-play image restoration."""

from __future__ import annotations

from pellucid.consistency.proximal import Proximal
from pellucid.errors import require_range
from pellucid.grid import Uniform
from pellucid.method import Method
from pellucid.transition import Mixed


def diffpir(
    nfe: int = 100, lam: float = 1.0, zeta: float = 0.6, data_std: float | None = 0.5, power: float = 2.0
) -> Method:
    """DiffPIR: every estimate is moved to the compromise between the prior and the measurement, in closed form.

    Reference: Zhu et al., Denoising Diffusion Models for Plug-and-Play Image Restoration, CVPR Workshops 2023.

    Equations: (12) and (13) in `Proximal`, eps recomputed; the step of Algorithm 1 is `Mixed` with eta^2 = zeta.

    Differences: `data_std=None` with `lam` of 7 to 12 is the paper's rho = lam sigma_y^2 alpha^2 / sigma^2; the
    default bounds the estimate's error by the spread of the data, and then needs no tuning. The released code starts
    from noised y.

    Args:
        nfe: network calls.
        lam: weight of the prior.
        zeta: share of fresh noise.
        data_std: standard deviation of the data in the prior's units, or None.
        power: exponent of the grid, 2 is denser near the end.
    """
    require_range("zeta", zeta, 0, 1)
    return Method(Uniform(nfe, power), Mixed(zeta**0.5), consistency=Proximal(lam, data_std), name="diffpir")
