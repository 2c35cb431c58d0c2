"""Diffusion posterior sampling."""

from __future__ import annotations

from pellucid.consistency.guidance import PosteriorGuidance, Rule
from pellucid.grid import Inclusive, Uniform
from pellucid.method import Method
from pellucid.transition import DDPM, LearnedVariance


def dps(nfe: int = 1000, scale: float = 1.0, rule: Rule = "likelihood", learned_variance: bool = False) -> Method:
    """DPS: DDPM steps, each followed by a gradient step on |y - A(x0)|^2 through the network. Any operator.

    Reference: Chung et al., Diffusion Posterior Sampling for General Noisy Inverse Problems, ICLR 2023.

    Equations: x0 by eq. (10); the gradient step of Algorithm 1 (Gaussian) and 2 (Poisson) in `PosteriorGuidance`.

    Differences: the paper's zeta = scale / |y - A(x0)| moves by the same length at every size and noise level, and on
    an exact posterior it is far off; the default is the likelihood's own step (`rule="likelihood"`). `rule="paper"`
    with scale 1, `rule="released"` with scale 0.3 (0.5 for random masks, 1.0 for phase retrieval) are theirs; the
    released code differentiates the norm, not its square, and normalises over the whole batch, which is not done here.

    Args:
        nfe: network calls, each with one vector-Jacobian product.
        scale: multiplies the step.
        rule: the step's rule.
        learned_variance: draw with the network's own variance (ADM checkpoints).
    """
    return Method(
        Uniform(nfe) if rule == "likelihood" else Inclusive(nfe),
        LearnedVariance() if learned_variance else DDPM(),
        consistency=PosteriorGuidance(scale, rule),
        clip="recompute",
        name="dps",
    )
