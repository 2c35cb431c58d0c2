"""Latent diffusion posterior sampling."""

from __future__ import annotations

from pellucid.consistency.latent import LatentGuidance, LatentRule, every_so_often
from pellucid.grid import Uniform
from pellucid.method import Method
from pellucid.transition import DDPM


def ldps(
    nfe: int = 1000,
    scale: float = 1.0,
    rule: LatentRule = "likelihood",
    through_network: bool = True,
    every: int = 1,
) -> Method:
    """Latent-DPS: DDPM steps, each with a gradient step on |y - A(D(z0))| through decoder and network. Any operator.

    Reference: Song et al., Solving Inverse Problems with Latent Diffusion Models via Hard Data Consistency, ICLR 2024
    (as a baseline); Fabian, Tinaz and Soltanolkotabi, Adapt and Diffuse, ICML 2024.

    Equations: (8) and (9) of the first in `LatentGuidance`; latents are not clipped. With a pixel prior it is DPS.

    Differences: the papers' steps move by a length that is tuned to each task; the default is the likelihood's own,
    as in `dps`. `rule="paper"` is eta |r|^-1 grad |r|^2 and `rule="released"` Flash's code, eta grad |r|, with eta =
    `scale` of 1 (varying blur) to 10 (random masks), r in the network's units. ReSample's code takes another step, at
    another estimate: `resample(as_released=True)` has it.

    Args:
        nfe: network calls, each with one vector-Jacobian product and a pass through the decoder and back.
        scale: multiplies the step.
        rule: the step's rule: likelihood, paper or released.
        through_network: whether the gradient goes through the network; False takes its eps for a constant.
        every: guide at every so many steps, and at the last; the others call the network alone. 1 is the papers'.
    """
    guidance = LatentGuidance(scale, rule, through_network=through_network)
    consistency = every_so_often(guidance, every, nfe)
    return Method(Uniform(nfe), DDPM(), consistency=consistency, clip="recompute", name="ldps")
