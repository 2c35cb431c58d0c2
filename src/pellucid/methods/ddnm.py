"""Denoising diffusion null-space models."""

from __future__ import annotations

from pellucid.consistency.backprojection import BackProjection
from pellucid.consistency.spectral import DDNMPlusUpdate
from pellucid.grid import Grid, Leading, TimeTravel
from pellucid.method import Method
from pellucid.transition import Mixed, Renoise


def ddnm(nfe: int = 100, eta: float = 0.85, travel_length: int = 1, travel_repeat: int = 1) -> Method:
    """DDNM: the estimate's measured part is replaced by the measurement in every step. For noiseless measurements.

    Reference: Wang, Yu and Zhang, Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model, ICLR 2023.

    Equations: back-projection of eq. (13) in `BackProjection`, eps kept; step of eq. (14) in `Mixed`; time travel of
    Algorithm 2 in `TimeTravel`, going up by noising the last unprojected x0.

    Args:
        nfe: network calls without time travel; a travel adds its own.
        eta: share of fresh noise.
        travel_length, travel_repeat: time travel; repeat 1 is none, as in the shipped configurations.
    """
    grid = _grid(nfe, travel_length, travel_repeat)
    return Method(grid, Mixed(eta), consistency=BackProjection(), climb=Renoise(), name="ddnm")


def ddnm_plus(nfe: int = 100, eta: float = 0.85, travel_length: int = 1, travel_repeat: int = 1) -> Method:
    """DDNM+: back-projection weighed, singular direction by singular direction, against the measurement's noise.

    Reference: Wang, Yu and Zhang, Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model, ICLR 2023.

    Equations: section 3.3 and appendix I in `DDNMPlusUpdate`; the rest as `ddnm`. On the same grid and start the step
    is DDRM's at eta_b = 1, written differently.

    Differences: the code's simplified, SVD-free version mixes up alpha and its square root and is not provided.

    Args:
        nfe: network calls without time travel; a travel adds its own.
        eta: share of fresh noise.
        travel_length, travel_repeat: time travel; repeat 1 is none.
    """
    grid = _grid(nfe, travel_length, travel_repeat)
    return Method(grid, Mixed(eta), consistency=DDNMPlusUpdate(eta), climb=Renoise(), name="ddnm+")


def _grid(nfe: int, length: int, repeat: int) -> Grid:
    return TimeTravel(Leading(nfe), length, repeat) if repeat > 1 else Leading(nfe)
