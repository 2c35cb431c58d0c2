"""Sampling from the prior alone."""

from __future__ import annotations

from pellucid.grid import Uniform
from pellucid.method import Method
from pellucid.transition import DDIM


def unconditional(nfe: int = 100, eta: float = 0.0) -> Method:
    """Unconditional sampling: DDIM, or DDPM at eta = 1; the measurement is ignored.

    Reference: Song et al., Denoising Diffusion Implicit Models, ICLR 2021; Ho et al., NeurIPS 2020.

    Equations: the step is eq. (12) of the former.

    Args:
        nfe: network calls.
        eta: share of fresh noise.
    """
    return Method(Uniform(nfe), DDIM(eta), name="unconditional")
