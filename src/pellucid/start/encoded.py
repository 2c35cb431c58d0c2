"""Starts from an estimate that is made on pictures, then encoded."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.codec import AffineCodec
from pellucid.consistency.pictures import on_pictures
from pellucid.errors import CompatibilityError
from pellucid.noise import Noise
from pellucid.prior.base import Prior, State
from pellucid.problem import Observation
from pellucid.process import Process
from pellucid.start.base import Start
from pellucid.start.initial import Noised


@dataclass(frozen=True)
class Encoded(Start):
    """z0 = E(x_init) at time 0, x_init the estimate of another start, which sees the problem on pictures in [-1, 1].

    With a pixel prior it is that start itself.

    Args:
        initial: the start on pictures, which may not call the prior: the prior knows latents only.
    """

    initial: Start

    def __post_init__(self) -> None:
        object.__setattr__(self, "needs_of_pictures", self.initial.needs)

    def __call__(self, observation: Observation, prior: Prior, noise: Noise, top: Tensor) -> State:
        pictures = _Pictures(prior.process)
        problem = on_pictures(observation).problem
        assert problem is not None
        x_init = self.initial(pictures.codec.observe(problem), pictures, noise, top).x
        return State(prior.codec.encode(pictures.codec.decode(x_init)), torch.zeros_like(top))


class _Pictures(Prior):
    """A prior's place on pictures in [-1, 1], for starts that ask for its codec and process only."""

    def __init__(self, process: Process) -> None:
        self.process, self.codec = process, AffineCodec()

    def _denoise(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor | None]:
        raise CompatibilityError("an initial estimate that calls the prior cannot be made on pictures")


@dataclass(frozen=True)
class NoisedCode(Noised):
    """z_t0 = alpha_t0 E(x_init) + sigma_t0 n: an estimate on pictures, encoded, and carried up to t0 at once.

    Args:
        initial: the start on pictures, see `Encoded`.
        fraction: t0 as a share of the process's pace.
    """

    def __post_init__(self) -> None:
        object.__setattr__(self, "needs_of_pictures", self.initial.needs)
        object.__setattr__(self, "initial", Encoded(self.initial))
        super().__post_init__()
