"""Starts that tomography has known for long: filtered back-projection, and least squares stopped early."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pellucid.errors import require_range
from pellucid.noise import Noise
from pellucid.operators.base import LinearOperator, Operator
from pellucid.operators.solve import pinv_by_cg
from pellucid.operators.tomography import Tomograph
from pellucid.operators.tomography.filters import require_filter
from pellucid.prior.base import Prior, State
from pellucid.problem import Observation
from pellucid.start.base import Start


@dataclass(frozen=True)
class Fbp(Start):
    """x = filtered back-projection of y (`Tomograph.fbp`), at time 0.

    Args:
        filter: one of `pellucid.operators.tomography.FILTERS`.

    Raises:
        UnknownNameError: there is no such filter.
    """

    filter: str = "ramp"
    needs: ClassVar[type[Operator]] = Tomograph

    def __post_init__(self) -> None:
        require_filter(self.filter)

    def __call__(self, observation: Observation, prior: Prior, noise: Noise, top: Tensor) -> State:
        operator = observation.operator
        assert isinstance(operator, Tomograph)
        x = operator.fbp(_of_black_zero(observation), self.filter)
        return State(x + _black(prior, x), torch.zeros_like(top))


@dataclass(frozen=True)
class LeastSquares(Start):
    """x = the k-th iterate of CGLS from a black picture, at time 0: A^+ y in the limit, smoother before.

    Args:
        iterations: k.
    """

    iterations: int = 10
    needs: ClassVar[type[Operator]] = LinearOperator

    def __post_init__(self) -> None:
        require_range("iterations", self.iterations, 1)

    def __call__(self, observation: Observation, prior: Prior, noise: Noise, top: Tensor) -> State:
        operator = observation.operator
        assert isinstance(operator, LinearOperator)
        x = pinv_by_cg(operator, _of_black_zero(observation), iterations=self.iterations)
        return State(x + _black(prior, x), torch.zeros_like(top))


def _of_black_zero(observation: Observation) -> Tensor:
    """The measurement in units in which black is 0, so that a result does not depend on the prior's range."""
    return observation.y if observation.black is None else observation.y - observation.black


def _black(prior: Prior, like: Tensor) -> Tensor:
    """A black picture as the prior sees it."""
    return prior.codec.encode(torch.zeros_like(like))
