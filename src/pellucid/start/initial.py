"""Starts from an estimate of the picture, which may also be the whole answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pellucid.errors import require_range
from pellucid.noise import Noise
from pellucid.operators.base import LinearOperator, Operator
from pellucid.prior.base import Prior, State
from pellucid.problem import Observation
from pellucid.start.base import Start


@dataclass(frozen=True)
class PseudoInverse(Start):
    """x = A^+ y, at time 0."""

    needs: ClassVar[type[Operator]] = LinearOperator

    def __call__(self, observation: Observation, prior: Prior, noise: Noise, top: Tensor) -> State:
        assert isinstance(observation.operator, LinearOperator)
        return State(observation.operator.pinv(observation.y), torch.zeros_like(top))


@dataclass(frozen=True)
class Noised(Start):
    """x_t0 = M_t0(x_init) + sigma_t0 z: an initial estimate carried up to time t0 at once.

    CCDF (Chung et al., CVPR 2022, eq. 10): the better the estimate, the smaller t0 may be.

    Args:
        initial: a start whose state is the estimate.
        fraction: t0 as a share of the process's pace.
    """

    initial: Start
    fraction: float = 0.2

    def __post_init__(self) -> None:
        require_range("fraction", self.fraction, 0, 1, above=True)
        object.__setattr__(self, "needs", self.initial.needs)

    def __call__(self, observation: Observation, prior: Prior, noise: Noise, top: Tensor) -> State:
        process = prior.process
        t0 = process.on_grid(process.at_pace(torch.full_like(top, self.fraction)))
        x_init = self.initial(observation, prior, noise, top).x
        return State(process.diffuse(x_init, t0, noise.normal(x_init, 0, "start")), t0)
