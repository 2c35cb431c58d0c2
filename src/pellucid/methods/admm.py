"""ADMM with a denoiser, and with total variation."""

from __future__ import annotations

from pellucid.grid import Nowhere
from pellucid.method import Method
from pellucid.start.admm import PlugAndPlay, TotalVariation
from pellucid.transition import DDIM


def pnp_admm(nfe: int = 30, sigma_d: float = 0.1, sigma_first: float = 0.5) -> Method:
    """PnP-ADMM: alternate between the measurement and a denoiser; the answer is one estimate, no sample.

    Reference: Venkatakrishnan, Bouman and Wohlberg, Plug-and-Play Priors, GlobalSIP 2013.

    The denoiser is the prior's E[x_0 | x_0 + sigma_d n], its level falling from `sigma_first` to `sigma_d` over the
    first half. Comparisons in the papers run a blind DnCNN for about a dozen iterations with a fixed penalty; a
    denoiser that knows its level needs no such tuning.

    Args:
        nfe: iterations.
        sigma_d, sigma_first: denoiser levels, in the prior's units ([-1, 1]).
    """
    return Method(Nowhere(), DDIM(), start=PlugAndPlay(nfe, sigma_d, sigma_first), name="pnp-admm")


def admm_tv(iterations: int = 60, lam: float | None = None, rho: float = 3.0) -> Method:
    """ADMM-TV: least squares with isotropic total variation; no network.

    Reference: Rudin, Osher and Fatemi, Physica D 1992; Boyd et al., ADMM, 2011.

    The weight follows the noise (0.2 sigma_y + 1e-4 in units of [-1, 1]) unless given; the papers tune a number per
    task. For sinograms it is multiplied by the number of views.

    Args:
        iterations: of ADMM.
        lam: weight of the variation, None to follow the noise.
        rho: penalty, in multiples of lam.
    """
    return Method(Nowhere(), DDIM(), start=TotalVariation(iterations, lam, rho), name="admm-tv")
