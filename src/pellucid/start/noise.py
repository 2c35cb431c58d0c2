"""Starts from noise: pure, or shaped by the measurement."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pellucid.noise import Noise
from pellucid.prior.base import Prior, State
from pellucid.problem import Observation
from pellucid.start.base import Start
from pellucid.typing import expand


@dataclass(frozen=True)
class PureNoise(Start):
    """x = sigma_t z at the top of the grid: nothing of the measurement."""

    def __call__(self, observation: Observation, prior: Prior, noise: Noise, top: Tensor) -> State:
        shape = (len(observation.y), *observation.operator.image_shape)
        z = noise.normal(observation.y.new_empty(shape), 0, "start")
        return State(expand(prior.process.sigma(top), z) * z, top)
