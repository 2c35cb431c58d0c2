"""Manifold constrained gradients."""

from __future__ import annotations

from typing import Literal

from pellucid.consistency.backprojection import Replacement
from pellucid.consistency.guidance import ManifoldConstraint, PosteriorGuidance, Rule
from pellucid.grid import Uniform
from pellucid.method import Method
from pellucid.transition import DDPM


def mcg(nfe: int = 1000, scale: float = 1.0, rule: Rule = "likelihood", level: Literal["s", "t"] = "s") -> Method:
    """MCG: DPS's gradient, then the measured part of the iterate is replaced by y noised. For noiseless measurements.

    Reference: Chung et al., Improving Diffusion Models for Inverse Problems using Manifold Constraints, NeurIPS 2022.

    Equations: gradient of eq. (14), replacement of eq. (15) with the projection A^+ A.

    Differences: the step is `PosteriorGuidance`'s, `rule="released"` with scale 1 is theirs; the released code noises
    y to the level of x_t (`level="t"`), one step too high. Because y itself, noise and all, ends up in the result, the
    method cannot model noise.

    Args:
        nfe: network calls, each with one vector-Jacobian product.
        scale, rule: of the gradient step, see `dps`.
        level: "s" or "t", the level that y is noised to.
    """
    consistency = ManifoldConstraint(PosteriorGuidance(scale, rule), Replacement(level))
    return Method(Uniform(nfe), DDPM(), consistency=consistency, clip="recompute", name="mcg")
