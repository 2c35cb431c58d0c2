"""Hard data consistency: at some steps the estimate is moved until it explains the measurement, then noised again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from pellucid.account import only
from pellucid.consistency.base import Consistency
from pellucid.consistency.proximal import reading_scale
from pellucid.consistency.resampling import Resampling
from pellucid.errors import require_range
from pellucid.noise import Noise
from pellucid.operators.base import LinearOperator, Operator
from pellucid.optimise.lbfgs import LBFGS
from pellucid.optimise.misfit import LatentMisfit, Misfit, PixelMisfit
from pellucid.optimise.projection import project
from pellucid.prior.base import Estimate, Prior, State
from pellucid.prior.lookahead import LookAhead
from pellucid.problem import Observation, Problem
from pellucid.step import Step
from pellucid.typing import expand


class Solver(Protocol):
    """Minimises a misfit from x, every image until its value is at most `goal` (b,) or nothing is gained any more."""

    @property
    def steps(self) -> int:
        """Iterations at most."""

    def __call__(self, misfit: Misfit, x: Tensor, goal: Tensor) -> Tensor:
        """The x reached, (b, ...)."""


class Refinement(ABC):
    """z0 -> z0(y): eq. (10), argmin_z |y - A(D(z))|^2 from z0, stopped at the noise."""

    @property
    def gradients(self) -> int:
        """Through the decoder, that one refinement takes at most: for forecasts."""
        return 0

    @abstractmethod
    def __call__(self, z0: Tensor, observation: Observation, prior: Prior) -> Tensor:
        """z0(y), (b, ...), in the prior's space."""


@dataclass(frozen=True)
class LatentOptimisation(Refinement):
    """Through the decoder: min_z |y - A(D(z))|^2.

    A warm start begins where the last visit's change z0(y) - z0 leads to from the new z0, if that is nearer to y than
    z0 itself.

    Args:
        solver: how.
        slack: stops where the mean squared residual is at most slack sigma_y^2 (discrepancy principle).
        floor: smallest value to stop at, in the range [-1, 1] squared: for noiseless measurements.
        warm: whether to begin warm.
    """

    solver: Solver = field(default_factory=LBFGS)
    slack: float = 1.0
    floor: float = 1e-6
    warm: bool = False

    @property
    def gradients(self) -> int:
        return self.solver.steps + 1

    def __call__(self, z0: Tensor, observation: Observation, prior: Prior) -> Tensor:
        misfit = LatentMisfit(problem_of(observation), prior.codec)
        goal = goal_of(misfit, self.slack, self.floor)
        if not self.warm:
            return self.solver(misfit, z0, goal)
        change = observation.memory.get("change of z0", z0)
        index = change.flatten(1).any(1).nonzero().flatten()
        if len(index):
            with only(index):
                some, here = misfit.select(index), z0[index]
                nearer = some(here + change[index]) < some(here)
            kept = torch.zeros(len(z0), dtype=z0.dtype, device=z0.device).index_copy(0, index, nearer.to(z0.dtype))
            change = expand(kept, change) * change
        found = self.solver(misfit, z0 + change, goal)
        observation.memory.put("change of z0", found - z0)
        return found


@dataclass(frozen=True)
class PixelOptimisation(Refinement):
    """On pictures: v = D(z0), min_v |y - A(v)|^2, z0(y) = E(v). No gradient through the decoder.

    Args:
        solver: how, for pictures in [-1, 1].
        slack, floor: see `LatentOptimisation`.
    """

    solver: Solver = field(default_factory=lambda: LBFGS(steps=50))
    slack: float = 1.0
    floor: float = 1e-6

    def __call__(self, z0: Tensor, observation: Observation, prior: Prior) -> Tensor:
        problem = problem_of(observation)
        misfit = PixelMisfit(problem)
        v = 2 * prior.codec.picture(z0, problem.operator.image_shape) - 1
        found = self.solver(misfit, v, goal_of(misfit, self.slack, self.floor))
        return prior.codec.encode((found + 1) / 2)


@dataclass(frozen=True)
class PixelProjection(Refinement):
    """On pictures, by the operator's structure: z0(y) = E(argmin |x - D(z0)|^2 with |y - A x|^2 <= slack m sigma_y^2).

    What gradient steps that begin at D(z0) and stop at the noise approach, at the cost of two changes of basis. An
    operator that is not linear is left to `otherwise`.

    Args:
        slack: see `LatentOptimisation`.
        otherwise: for operators that are not linear.
    """

    slack: float = 1.0
    otherwise: Refinement = field(default_factory=PixelOptimisation)

    def __call__(self, z0: Tensor, observation: Observation, prior: Prior) -> Tensor:
        problem = problem_of(observation)
        if not isinstance(problem.operator, LinearOperator):
            return self.otherwise(z0, observation, prior)
        picture = prior.codec.picture(z0, problem.operator.image_shape)
        return prior.codec.encode(project(picture, problem, self.slack))


@dataclass(frozen=True)
class ByCodec(Refinement):
    """On the latents of an autoencoder one refinement, on pictures (an affine codec) another.

    Args:
        pictures: where the prior's space is that of pictures.
        latents: elsewhere.
    """

    pictures: Refinement
    latents: Refinement

    @property
    def gradients(self) -> int:
        return self.latents.gradients

    def __call__(self, z0: Tensor, observation: Observation, prior: Prior) -> Tensor:
        return (self.pictures if prior.codec.linear else self.latents)(z0, observation, prior)


@dataclass(frozen=True)
class HardConsistency(Consistency):
    """ReSample's three stages: nothing, then the picture, then the latent is made consistent, at every k-th step.

    Song et al., ICLR 2024, Algorithm 1. At step t -> s, z' = the sampler's z_s and z0 its estimate:

        z' <- guidance(z')                              optional: Latent-DPS, at every step
        z0 <- estimate `lookahead` steps further down   optional
        z0(y) = refinement of z0                        stage by the time t: `pixel` above `switch`, `latent` below
        z_s ~ resampling(z0(y), z')

    Args:
        pixel, latent: the refinement of either stage; None leaves the stage out.
        every: acts where the number of steps that remain is a multiple of it, and not at the last step.
        begin, switch: where the stages begin, as shares of the process's pace; thirds in the paper.
        resampling: what z0(y) is mapped back by.
        lookahead: steps that the estimate is taken from further down.
        guidance: what happens at every step before.
    """

    pixel: Refinement | None = field(default_factory=PixelProjection)
    latent: Refinement | None = field(default_factory=LatentOptimisation)
    every: int = 10
    begin: float = 2 / 3
    switch: float = 1 / 3
    resampling: Resampling = field(default_factory=Resampling)
    lookahead: int = 0
    guidance: Consistency | None = None

    def __post_init__(self) -> None:
        require_range("every", self.every, 1)
        require_range("lookahead", self.lookahead, 0)
        require_range("begin", self.begin, 0, 1)
        require_range("switch", self.switch, 0, 1)
        if self.guidance is not None:
            object.__setattr__(self, "needs", self.guidance.needs)
            object.__setattr__(self, "needs_of_pictures", self.guidance.needs_of_pictures)
            object.__setattr__(self, "needs_vjp", self.guidance.needs_vjp)

    def check(self, operator: Operator) -> None:
        if self.guidance is not None:
            self.guidance.check(operator)

    def gradients(self, steps: int) -> int:
        guided = 0 if self.guidance is None else self.guidance.gradients(steps)
        each = 0 if self.latent is None else self.latent.gradients
        return guided + int(self.switch * steps / self.every) * each

    def correct(self, step: Step, observation: Observation, prior: Prior, noise: Noise) -> Tensor:
        x_s = step.x_s if self.guidance is None else self.guidance.correct(step, observation, prior, noise)
        visited = self.visits(step)
        if not visited.any():
            return x_s
        step, result = step.moved(x_s), x_s.clone()
        for refinement, stage in self.stages(prior.process.pace(step.state.t)):
            index = stage[visited[stage]]
            if len(index):
                with only(index):
                    part = _select(step, index)
                    moved = self._harden(part, observation.select(index), prior, noise.select(index), refinement)
                result[index.to(result.device)] = moved
        return result

    def visits(self, step: Step) -> Tensor:
        """Which images the step is one of the k-th for, (b,) bool."""
        remaining = torch.as_tensor(step.remaining).expand(len(step.s))
        return (remaining % self.every == 0) & (remaining > 0)

    def stages(self, pace: Tensor) -> list[tuple[Refinement, Tensor]]:
        """Which images are refined how: pairs of a refinement and indices."""
        late = pace <= self.switch
        chosen = ((self.pixel, ~late & (pace <= self.begin)), (self.latent, late))
        return [(refinement, where.nonzero().flatten()) for refinement, where in chosen if refinement is not None]

    def _harden(
        self, step: Step, observation: Observation, prior: Prior, noise: Noise, refinement: Refinement
    ) -> Tensor:
        z0 = self.look(step, prior)
        consistent = refinement(z0, observation, prior)
        n = noise.normal(step.x_s, step.state.index, "resample")
        return self.resampling(prior.process, step.state.t, step.s, consistent, step.x_s, n)

    def look(self, step: Step, prior: Prior) -> Tensor:
        """The estimate to start from."""
        if not self.lookahead:
            return step.estimate.x0
        process = prior.process
        pitch = process.pace(step.state.t) - process.pace(step.s)
        ahead = LookAhead(prior, self.lookahead - 1, pitch)
        return ahead.estimate(State(step.x_s, step.s, step.state.index, step.images)).x0


@dataclass(frozen=True)
class Finish:
    """A refinement of the output, before it is decoded for good. Optional in the paper, always on in its code."""

    refinement: Refinement = field(default_factory=LatentOptimisation)

    @property
    def gradients(self) -> int:
        """Through the decoder, at most."""
        return self.refinement.gradients

    def __call__(self, z: Tensor, observation: Observation, prior: Prior) -> Tensor:
        return self.refinement(z, observation, prior)


def goal_of(misfit: Misfit, slack: float, floor: float) -> Tensor:
    """Where to stop, (b,): slack times what the noise leaves, at least `floor`, which is in the units of pictures."""
    length, _ = reading_scale(misfit.problem.operator)
    return (slack * misfit.noise).clamp(min=floor * length**2)


def problem_of(observation: Observation) -> Problem:
    """The measurement in the units of pictures, which hard consistency is about."""
    assert observation.problem is not None, "this observation was not made by a codec"
    return observation.problem


def _select(step: Step, index: Tensor) -> Step:
    """The step of images `index`, as far as hard consistency looks at it."""
    if len(index) == len(step.s):
        return step

    def part(estimate: Estimate) -> Estimate:
        return Estimate(estimate.x0[index], estimate.eps[index])

    return replace(
        step,
        state=step.state.select(index),
        s=step.s[index],
        raw=part(step.raw),
        estimate=part(step.estimate),
        x_s=step.x_s[index],
    )
