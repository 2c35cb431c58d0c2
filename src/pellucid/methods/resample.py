"""ReSample."""

from __future__ import annotations

from typing import Literal

from pellucid.consistency.guidance import PosteriorGuidance
from pellucid.consistency.hard import (
    Finish,
    HardConsistency,
    LatentOptimisation,
    PixelOptimisation,
    PixelProjection,
    Refinement,
)
from pellucid.consistency.hard_released import DecoderGuidance, ReleasedHardConsistency
from pellucid.consistency.resampling import Form, Resampling
from pellucid.grid import LatentDiffusion, Uniform
from pellucid.method import Method
from pellucid.optimise.adamw import AdamW
from pellucid.optimise.lbfgs import LBFGS
from pellucid.prior.smooth import smooth
from pellucid.transition import DDIM

Solver = Literal["fast", "adamw"]


def resample(
    nfe: int | None = None,
    every: int | None = None,
    gamma: float = 40.0,
    form: Form = "paper",
    solver: Solver = "fast",
    latent_steps: int | None = None,
    pixel_steps: int = 2000,
    begin: float = 2 / 3,
    switch: float = 1 / 3,
    lookahead: int = 0,
    guidance: float = 0.0,
    finish: bool | None = None,
    slack: float = 1.0,
    as_released: bool = False,
) -> Method:
    """ReSample: DDIM whose estimate is made to explain y at every k-th step, then noised again by resampling.

    Reference: Song et al., Solving Inverse Problems with Latent Diffusion Models via Hard Data Consistency, ICLR 2024.

    Equations: (10) in `PixelProjection`, `PixelOptimisation` and `LatentOptimisation`; the stages and the order of
    Algorithm 1 in `HardConsistency`; (12) and (13) in `Resampling`; Latent-DPS, (9), in `PosteriorGuidance`.

    Args:
        nfe: DDIM steps, each a network call.
    """
    if as_released:
        return released(500 if nfe is None else nfe)
    fast = solver == "fast"
    nfe, every, latent_steps = (
        nfe or (100 if fast else 500),
        every or (2 if fast else 10),
        latent_steps or (10 if fast else 500),
    )
    latent = LatentOptimisation(LBFGS(latent_steps) if fast else AdamW(latent_steps, 5e-3), slack)
    pixel: Refinement = PixelProjection(slack) if fast else PixelOptimisation(AdamW(pixel_steps, 1e-2), slack)
    consistency = HardConsistency(
        pixel,
        latent,
        every,
        begin,
        switch,
        Resampling(gamma, form),
        lookahead,
        PosteriorGuidance(guidance) if guidance else None,
    )
    return Method(
        Uniform(nfe),
        DDIM(0.0),
        consistency=consistency,
        wrap=smooth if fast else None,
        finish=Finish(latent) if (fast if finish is None else finish) else None,
        name="resample",
    )


def released(nfe: int = 500, pixel_steps: int = 2000, latent_steps: int = 500) -> Method:
    """The published sampler, whatever the paper says."""
    pixel = PixelOptimisation(AdamW(pixel_steps, 1e-2), slack=0.0)
    latent = LatentOptimisation(AdamW(latent_steps, 5e-3, window=200), slack=0.0)
    consistency = ReleasedHardConsistency(
        pixel, latent, resampling=Resampling(form="released", per=None), lookahead=5, guidance=DecoderGuidance()
    )
    return Method(LatentDiffusion(nfe), DDIM(0.0), consistency=consistency, finish=Finish(latent), name="resample")
