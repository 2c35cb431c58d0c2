"""Denoising diffusion restoration models."""

from __future__ import annotations

from pellucid.consistency.spectral import DDRMUpdate
from pellucid.grid import Leading
from pellucid.method import Method
from pellucid.start.spectral import SpectralNoise
from pellucid.transition import DDIM


def ddrm(nfe: int = 100, eta: float = 0.85, eta_b: float = 1.0, released: bool = False) -> Method:
    """DDRM: every singular direction of A follows the measurement or the prior, by whichever has less noise.

    Reference: Kawar et al., Denoising Diffusion Restoration Models, NeurIPS 2022.

    Equations: start of eq. (6) in `SpectralNoise`, step of eq. (7) and (8) in `DDRMUpdate`.

    Defaults: the paper's headline is 20 calls; against the exact posterior they are too few for scattered holes, and
    the 100 that the comparisons of DDNM and SSD use are the default here.

    Differences: the code scales the start by 1 / sigma_T instead of alpha_T (`released=True`); its deblurring
    operators are not the stated blurs, ours are.

    Args:
        nfe: network calls.
        eta: share of fresh noise where the measurement says little.
        eta_b: share of the measurement where it says much.
        released: the code's scaling of the start.
    """
    start = SpectralNoise(released)
    return Method(Leading(nfe), DDIM(), start=start, consistency=DDRMUpdate(eta, eta_b), name="ddrm")
