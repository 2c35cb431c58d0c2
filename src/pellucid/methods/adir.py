"""ADIR: guidance by a measurement that is carried up to the iterate's noise, with a prior adapted to the picture."""

from __future__ import annotations

from typing import Literal

from pellucid.consistency.surrogate import Form, Rule, SurrogateGuidance
from pellucid.grid import Inclusive, Uniform
from pellucid.method import Method
from pellucid.transition import DDIM, LearnedVariance


def adir(
    nfe: int = 100,
    scale: float = 1.0,
    rule: Rule = "bounded",
    form: Form = "surrogate",
    carried: Literal["mean", "paper"] = "mean",
    eta: float = 1.0,
    learned_variance: bool = False,
) -> Method:
    """ADIR: DDPM steps, each moved by -2 A^T (A mu - y_t), y_t being y as noisy as the step. Linear operators.

    Reference: Abu-Hussein, Tirer and Giryes, ADIR: Adaptive Diffusion for Image Reconstruction, arXiv 2212.03221.

    Equations: the step of eq. (9) with g of eq. (16) (`SurrogateGuidance`); no gradient through the network. The prior
    is to be adapted to the picture beforehand, from its nearest neighbours in a collection: `pellucid.adapt.adapt`, on
    the command line `--adapt`; it need not be, and the guidance then is one more way to guide.

    Differences: the paper's step s Sigma has s = 1 as it stands (`rule="paper"`), which hardly guides near the end,
    where Sigma is small. The default is the step that is least along what A measures best, held to the likelihood's own
    under noise. y_t here carries as much of eps as the mean that it is compared with (`carried="mean"`); the paper's
    sqrt(1 - abar) (`carried="paper"`) is the same for many small steps and drifts for few large ones. The other forms
    of g are those that the paper compares with. Sigma is that of the step before y enters, the network's own with
    `learned_variance`.

    Defaults: 100 calls; the paper's are 1000. eta = 1 is DDPM; eta = 0 has no Sigma to guide with.

    Args:
        nfe: network calls.
        scale: multiplies the step.
        rule: of the step, bounded or paper.
        form: of g, surrogate, naive or autograd.
        carried: how much of eps y_t carries, mean or paper.
        eta: noise of the steps, above 0.
        learned_variance: draw with the network's own variance (ADM checkpoints).
    """
    return Method(
        Inclusive(nfe) if rule == "paper" else Uniform(nfe),
        LearnedVariance() if learned_variance else DDIM(eta),
        consistency=SurrogateGuidance(scale, rule, form, carried),
        clip="recompute",
        name="adir",
    )
