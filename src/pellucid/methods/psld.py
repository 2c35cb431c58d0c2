"""Posterior sampling with latent diffusion."""

from __future__ import annotations

from typing import Literal

from pellucid.consistency.latent import LatentGuidance, LatentRule, Projected, every_so_often
from pellucid.grid import Uniform
from pellucid.method import Method
from pellucid.transition import DDIM


def psld(
    nfe: int = 1000,
    scale: float = 1.0,
    weight: float = 0.1,
    rule: LatentRule = "likelihood",
    adjoint: Literal["true", "identity"] = "true",
    eta: float = 1.0,
    noiser: float = 0.0,
    every: int = 1,
) -> Method:
    """PSLD: Latent-DPS with a second term, |z0 - E(A^T y + D(z0) - A^T A D(z0))|. Linear operators.

    Reference: Rout et al., Solving Linear Inverse Problems Provably via Posterior Sampling with Latent Diffusion
    Models, NeurIPS 2023.

    Equations: Algorithm 2: the sum scale |y - A(D(z0))| + weight |.| is differentiated in `LatentGuidance` with
    `Projected`.

    Differences: the step's length is the likelihood's, as in `ldps`, the steps are DDPM's, and A^T is divided by
    |A|^2 where that is above 2, sinograms counting in pixel lengths. `rule="released"`, eta = 0, scale (omega) 1 and
    weight (gamma) 0.1 are the authors' code, in which A^T of a blur is the identity (`adjoint="identity"`) and fresh
    noise is added to A D(z0) (`noiser`). Flash's code has DDPM's steps, the true A^T, and 2 and 0.2 (varying blur), 2
    and 0.1 (fixed), 10 and 0.5 (random masks). Latents are not clipped.

    Args:
        nfe: network calls, each with one vector-Jacobian product, and passes through decoder and encoder and back.
        scale, weight: of the two terms.
        rule: the step's rule, see `ldps`.
        adjoint: A^T of the second term: true or identity.
        eta: share of fresh noise in a step: 1 is DDPM, 0 DDIM.
        noiser: standard deviation of the noise on the predicted measurement, in [0, 1] units.
        every: guide at every so many steps, see `ldps`.
    """
    guidance = LatentGuidance(scale, rule, Projected(adjoint), weight, noiser=noiser)
    consistency = every_so_often(guidance, every, nfe)
    return Method(Uniform(nfe), DDIM(eta), consistency=consistency, clip="recompute", name="psld")
