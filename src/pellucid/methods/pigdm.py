"""Pseudoinverse-guided diffusion models."""

from __future__ import annotations

from pellucid.consistency.guidance import PseudoinverseGuidance
from pellucid.grid import Uniform
from pellucid.method import Method
from pellucid.transition import DDIM


def pigdm(nfe: int = 100, eta: float = 1.0, data_std: float = 0.5, bounded: bool = True) -> Method:
    """PiGDM: guidance by the likelihood with the estimate's own error in it, through the network.

    Reference: Song et al., Pseudoinverse-Guided Diffusion Models for Inverse Problems, ICLR 2023.

    Equations: (7) to (9) in `PseudoinverseGuidance`.

    Differences: the paper's Algorithm 1 keeps eps and adds the gradient times sqrt(abar) r^2 to the step; here both
    x0 and eps are the posterior's, which is exact for white data; on bounded data x0 is clipped after guidance.
    `data_std=1` is the paper's r^2 = 1 - abar.

    Args:
        nfe: network calls, each with one vector-Jacobian product.
        eta: of the DDIM step.
        data_std: standard deviation of the data in the prior's units.
        bounded: cut steps that overshoot the measurement and hold x0 to the prior's bounds; False is eq. (7) alone.
    """
    return Method(Uniform(nfe), DDIM(eta), consistency=PseudoinverseGuidance(data_std, bounded), name="pigdm")
