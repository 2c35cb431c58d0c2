"""ReSample."""

from __future__ import annotations

from typing import Literal, TypeVar

from pellucid.consistency.guidance import PosteriorGuidance
from pellucid.consistency.hard import (
    ByCodec,
    Finish,
    HardConsistency,
    LatentOptimisation,
    PixelOptimisation,
    PixelProjection,
    Refinement,
)
from pellucid.consistency.hard_released import DecoderGuidance, ReleasedHardConsistency
from pellucid.consistency.resampling import Form, Resampling
from pellucid.errors import CompatibilityError
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
    solver: Solver = "fast",
    pixel_steps: int = 2000,
    latent_steps: int | None = None,
    gamma: float = 40.0,
    form: Form = "paper",
    begin: float = 2 / 3,
    switch: float = 1 / 3,
    lookahead: int = 0,
    guidance: float = 0.0,
    finish: bool | None = None,
    slack: float = 1.0,
    as_released: bool = False,
) -> Method:
    """ReSample: DDIM whose estimate is made to explain y at every k-th step, then noised again. Any operator.

    Reference: Song et al., Solving Inverse Problems with Latent Diffusion Models via Hard Data Consistency, ICLR 2024.

    Equations: the stages and the order of Algorithm 1 in `HardConsistency`; (10) in `PixelProjection` (or
    `PixelOptimisation`) and `LatentOptimisation`; (12) and (13) in `Resampling`; Latent-DPS (9) in `PosteriorGuidance`.

    Differences: the paper takes hundreds of AdamW steps at every visit, the default here solves the same problems with
    a fraction of the decoder passes: on pictures by the operator's structure, on latents by a few L-BFGS steps from a
    warm start, and once more at the end, with a decoder that leaves out the code book, also for the result.
    `solver="adamw"` is the paper's way. `as_released` is the published sampler, which differs from the paper: its
    sigma_t^2 is another one, its estimate takes too little noise off, the look-ahead of 5 steps is one step behind with
    its coefficients, Latent-DPS acts at every step and not through the network, the optimisers stop at 1e-6 whatever
    the noise, and the last latent is optimised again. Of its settings `nfe`, `pixel_steps` and `latent_steps` can then
    be changed.

    Args:
        nfe: DDIM steps; 50, and 500 for solver="adamw" and as_released.
        every: hard consistency where the number of steps that remain is a multiple of it; by default that of
            25 visits in the whole of the time, 50 for "adamw".
        solver: "fast", or "adamw".
        pixel_steps: of AdamW at every visit of the first stage, at most.
        latent_steps: of L-BFGS or AdamW at every visit of the second stage and at the end, at most; 3, and 500.
        gamma, form: of the resampling; form="encoding" is stochastic encoding.
        begin, switch: where the first and the second stage begin, as shares of the time.
        lookahead: steps that the estimate is taken from further down.
        guidance: scale of a Latent-DPS step at every step; 0 for none.
        finish: whether the last latent is optimised again; by default only by "fast".
        slack: optimisation stops at slack times the variance of the noise.
        as_released: the published sampler.
    """
    if solver not in ("fast", "adamw"):
        raise CompatibilityError(f"solver must be fast or adamw, not {solver!r}")
    fast = solver == "fast"
    if as_released:
        return released(_or(nfe, 500), pixel_steps, _or(latent_steps, 500))
    nfe, latent_steps = _or(nfe, 50 if fast else 500), _or(latent_steps, 3 if fast else 500)
    every, finish = _or(every, max(1, nfe // (25 if fast else 50))), _or(finish, fast)
    latent: Refinement = LatentOptimisation(AdamW(latent_steps, 5e-3), slack)
    pixel: Refinement = PixelOptimisation(AdamW(pixel_steps, 1e-2), slack)
    if fast:
        pixel = PixelProjection(slack)
        latent = ByCodec(pixel, LatentOptimisation(LBFGS(latent_steps), slack, warm=True))
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
    if not (finish or guidance or any(k % every == 0 and (begin == 1 or k + 1 < begin * nfe) for k in range(1, nfe))):
        raise CompatibilityError(
            f"resample would never look at y: none of its last {begin:.0%} of {nfe} steps is an every={every}-th; "
            "take a smaller every, more steps, or finish=true"
        )
    return Method(
        Uniform(nfe),
        DDIM(0.0),
        consistency=consistency,
        wrap=smooth if fast else None,
        finish=Finish(latent) if finish else None,
        name="resample",
    )


T = TypeVar("T")


def _or(value: T | None, usual: T) -> T:
    return usual if value is None else value


def released(nfe: int = 500, pixel_steps: int = 2000, latent_steps: int = 500) -> Method:
    """The published sampler: `resample(as_released=True)`."""
    pixel = PixelOptimisation(AdamW(pixel_steps, 1e-2), slack=0.0)
    latent = LatentOptimisation(AdamW(latent_steps, 5e-3, window=200), slack=0.0)
    consistency = ReleasedHardConsistency(
        pixel, latent, resampling=Resampling(form="released", per=None), lookahead=5, guidance=DecoderGuidance()
    )
    return Method(LatentDiffusion(nfe), DDIM(0.0), consistency=consistency, finish=Finish(latent), name="resample")
