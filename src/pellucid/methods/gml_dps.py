"""Latent diffusion posterior sampling with gluing to the decoder's manifold."""

from __future__ import annotations

from pellucid.consistency.latent import Decodable, LatentGuidance, LatentRule, every_so_often
from pellucid.grid import Uniform
from pellucid.method import Method
from pellucid.transition import DDPM


def gml_dps(
    nfe: int = 1000,
    scale: float = 1.0,
    weight: float = 0.02,
    rule: LatentRule = "likelihood",
    every: int = 1,
) -> Method:
    """GML-DPS: Latent-DPS with a second term, |z0 - E(D(z0))|, that holds latents to what decodes and encodes alike.

    Reference: Rout et al., Solving Linear Inverse Problems Provably via Posterior Sampling with Latent Diffusion
    Models, NeurIPS 2023; run by Fabian, Tinaz and Soltanolkotabi, Adapt and Diffuse, ICML 2024.

    Equations: the sum scale |y - A(D(z0))| + weight |z0 - E(D(z0))| is differentiated in `LatentGuidance` with
    `Decodable`. With a pixel prior, where E and D undo each other, it is DPS.

    Differences: the step's length is the likelihood's, as in `ldps`, and only weight / scale decides between the two
    terms. `rule="released"` is Flash's code; scale and weight there are 3 and 0.05 (varying blur, FFHQ), 2 and 0.05
    (LSUN, and fixed blur), 10 and 0.05 (random masks).

    Args:
        nfe: network calls, each with one vector-Jacobian product, and passes through decoder and encoder and back.
        scale, weight: of the two terms.
        rule: the step's rule, see `ldps`.
        every: guide at every so many steps, see `ldps`.
    """
    guidance = LatentGuidance(scale, rule, Decodable(), weight)
    consistency = every_so_often(guidance, every, nfe)
    return Method(Uniform(nfe), DDPM(), consistency=consistency, clip="recompute", name="gml-dps")
