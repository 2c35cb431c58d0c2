"""Starts: where a reconstruction begins."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from pellucid.noise import Noise
from pellucid.operators.base import Operator
from pellucid.prior.base import Prior, State
from pellucid.problem import Observation, Problem


class Start(ABC):
    """Gives the first state. `needs` is the rung of the operator ladder that it stands on."""

    needs: ClassVar[type[Operator]] = Operator

    @abstractmethod
    def __call__(self, observation: Observation, prior: Prior, noise: Noise, top: Tensor) -> State:
        """The first state; `top` (b,) is where the grid would begin, for starts that have no time of their own."""

    def check(self, problem: Problem, prior: Prior) -> None:
        """Raises a `PellucidError` where the start cannot work, before any work is done."""
