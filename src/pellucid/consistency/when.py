"""Combinators: when a consistency acts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pellucid.account import only
from pellucid.consistency.base import Consistency
from pellucid.noise import Index, Noise
from pellucid.operators.base import Operator
from pellucid.prior.base import Estimate, Prior, State
from pellucid.problem import Observation
from pellucid.step import Step
from pellucid.transition import Transition


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

    def check_transition(self, transition: Transition) -> None:
        self.consistency.check_transition(transition)

    def acts(self, index: Index) -> bool | Tensor:
        """Whether step `index` is one of those; bool (b,) for an index per image."""
        if isinstance(index, int):
            return bool(self.acts(torch.tensor([index])))
        begun = (index >= self.first) & ((index - self.first) % self.every == 0)
        return begun if self.last is None else begun & (index < self.last)

    def acting(self, index: Index, batch: int) -> Tensor:
        """The images of a batch of which step `index` is one of those."""
        return torch.as_tensor(self.acts(index)).expand(batch).nonzero().flatten()

    def check(self, operator: Operator) -> None:
        self.consistency.check(operator)

    def refine(self, estimate: Estimate, state: State, s: Tensor, observation: Observation, prior: Prior) -> Estimate:
        acting = self.acting(state.index, len(s))
        if not len(acting):
            return estimate
        if len(acting) == len(s):
            return self.consistency.refine(estimate, state, s, observation, prior)
        with only(acting):
            refined = self.consistency.refine(
                estimate.select(acting), state.select(acting), s[acting], observation.select(acting), prior
            )
        place = acting.to(estimate.x0.device)
        return replace(
            estimate,
            x0=estimate.x0.index_copy(0, place, refined.x0),
            eps=estimate.eps.index_copy(0, place, refined.eps),
        )

    def correct(self, step: Step, observation: Observation, prior: Prior, noise: Noise) -> Tensor:
        acting = self.acting(step.state.index, len(step.s))
        if not len(acting):
            return step.x_s
        if len(acting) == len(step.s):
            return self.consistency.correct(step, observation, prior, noise)
        with only(acting):
            moved = self.consistency.correct(
                step.select(acting), observation.select(acting), prior, noise.select(acting)
            )
        return step.x_s.index_copy(0, acting.to(step.x_s.device), moved)
