"""Combinators: when a consistency acts."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pellucid.consistency.base import Consistency
from pellucid.noise import Noise
from pellucid.operators.base import Operator
from pellucid.prior.base import Estimate, Prior, State
from pellucid.problem import Observation
from pellucid.step import Step


@dataclass(frozen=True)
class During(Consistency):
    """A consistency that acts in steps first, first + every, ... below `last` only, and lets go otherwise.

    Args:
        consistency: the one that acts.
        first, last: indices of steps; last is exclusive, None means to the end.
        every: act in every `every`-th step.
    """

    consistency: Consistency
    first: int = 0
    last: int | None = None
    every: int = 1

    def __post_init__(self) -> None:
        for name in ("needs", "needs_of_pictures", "needs_vjp"):  # the wrapper asks for what it wraps
            object.__setattr__(self, name, getattr(self.consistency, name))

    def acts(self, index: int) -> bool:
        """Whether step `index` is one of those."""
        return (
            index >= self.first and (self.last is None or index < self.last) and (index - self.first) % self.every == 0
        )

    def check(self, operator: Operator) -> None:
        self.consistency.check(operator)

    def refine(self, estimate: Estimate, state: State, s: Tensor, observation: Observation, prior: Prior) -> Estimate:
        if not self.acts(state.index):
            return estimate
        return self.consistency.refine(estimate, state, s, observation, prior)

    def correct(self, step: Step, observation: Observation, prior: Prior, noise: Noise) -> Tensor:
        return self.consistency.correct(step, observation, prior, noise) if self.acts(step.index) else step.x_s
