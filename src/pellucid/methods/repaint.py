"""RePaint."""

from __future__ import annotations

from pellucid.consistency.backprojection import MaskReplacement
from pellucid.grid import TimeTravel, Uniform
from pellucid.method import Method
from pellucid.transition import DDPM


def repaint(nfe: int = 250, travel_length: int = 10, travel_repeat: int = 10) -> Method:
    """RePaint: known pixels are y noised to each step's level, the rest is resampled again and again. Masks, noiseless.

    Reference: Lugmayr et al., RePaint: Inpainting using Denoising Diffusion Probabilistic Models, CVPR 2022.

    Equations: (8) in `MaskReplacement`; resampling of Algorithm 1 in `TimeTravel`, upward by the forward process.

    Args:
        nfe: steps of the grid; resampling multiplies the network calls by nearly `travel_repeat`.
        travel_length, travel_repeat: jump length and number of resamplings of the paper.
    """
    grid = TimeTravel(Uniform(nfe), travel_length, travel_repeat) if travel_repeat > 1 else Uniform(nfe)
    return Method(grid, DDPM(), consistency=MaskReplacement(), name="repaint")
