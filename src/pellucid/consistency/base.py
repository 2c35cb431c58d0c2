"""Consistency: how the measurement is respected on the way. The base class respects nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from pellucid.noise import Noise
from pellucid.operators.base import Operator
from pellucid.prior.base import Estimate, Prior, State
from pellucid.problem import Observation
from pellucid.step import Step

if TYPE_CHECKING:
    from pellucid.transition import Transition


class Consistency:
    """Two places to act: on the estimate before the step is made, and on the step's result.

    Attributes:
        needs: the rung of the operator ladder that the method stands on, in the prior's space.
        needs_of_pictures: the rung of the operator on pictures, for consistencies that decode and work there: behind
            an autoencoder no operator is linear, on pictures it may be.
        needs_vjp: whether the estimate must be differentiable.
    """

    needs: ClassVar[type[Operator]] = Operator
    needs_of_pictures: ClassVar[type[Operator]] = Operator
    needs_vjp: bool = False

    def check(self, operator: Operator) -> None:
        """Raises `CompatibilityError` where the operator on pictures is of a kind that the rungs do not tell."""

    def check_transition(self, transition: Transition) -> None:
        """Raises `CompatibilityError` where steps of that kind leave the consistency nothing to act with."""

    def gradients(self, steps: int) -> int:
        """About how many gradients through the decoder a run of so many steps takes: for forecasts."""
        return steps if self.needs_vjp else 0

    def refine(self, estimate: Estimate, state: State, s: Tensor, observation: Observation, prior: Prior) -> Estimate:
        """The estimate to step from x_t to time s with, and the eps that the method pairs it with."""
        return estimate

    def correct(self, step: Step, observation: Observation, prior: Prior, noise: Noise) -> Tensor:
        """x_s, given the step that the transition made."""
        return step.x_s
