"""Diffusion model based posterior sampling."""

from __future__ import annotations

from typing import Literal

from pellucid.consistency.guidance import NoisePerturbedGuidance
from pellucid.grid import Uniform
from pellucid.method import Method
from pellucid.transition import DDPM


def dmps(nfe: int = 1000, scale: float = 1.75, at: Literal["x_s", "x_t"] = "x_s") -> Method:
    """DMPS: guidance by the likelihood of the noisy iterate itself; no gradient through the network.

    Reference: Meng and Kabashima, Diffusion Model Based Posterior Sampling for Noisy Linear Inverse Problems, 2022.

    Equations: the score of eq. (13) and the step of Algorithm 1 in `NoisePerturbedGuidance`.

    Limits: the likelihood takes x_0 given x_t to be x_t / alpha_t with independent errors, as if there were no prior,
    so a measured pixel pulls at itself alone. Where most pixels are missing, the others' noise decides the low
    frequencies before the measured ones can: see random 70 % in `docs/verify.md`.

    Differences: released operators truncate their kernels; ours are the stated ones.

    Args:
        nfe: network calls.
        scale: lambda of the paper.
        at: where the likelihood's score is taken.
    """
    return Method(Uniform(nfe), DDPM(), consistency=NoisePerturbedGuidance(scale, at), name="dmps")
