"""DDIM as Stable Diffusion's pipelines run it, in the project's own loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from pellucid.errors import CompatibilityError, PriorError, require_range
from pellucid.grid import Grid
from pellucid.method import Method
from pellucid.noise import Noise
from pellucid.prior.base import Prior, State
from pellucid.problem import Observation
from pellucid.process import Process
from pellucid.start.base import Start
from pellucid.transition import DDIM


@dataclass(frozen=True)
class Scheduled(Grid):
    """The times of a diffusers scheduler's configuration, in time t = i + 1 for its timestep i.

    "leading": t_j = 1 + offset + j floor(T / steps), j = steps - 1 .. 0. "trailing": t_k = T - round(k T / steps).
    Then `last`: 0, or 1 where the configuration takes the state at the first beta for the clean one
    (`set_alpha_to_one` false), as Stable Diffusion's do.

    Args:
        steps: number of network calls without guidance.
        offset: `steps_offset`.
        last: see above.
        spacing: `timestep_spacing`.

    Raises:
        CompatibilityError: when used, for more steps than half the times of the process, or one that is not discrete.
    """

    steps: int
    offset: int = 0
    last: float = 0.0
    spacing: Literal["leading", "trailing"] = "leading"

    def __post_init__(self) -> None:
        require_range("steps", self.steps, 1)

    def top(self, process: Process) -> float:
        return float(self.points(process)[0])

    def times(self, process: Process, start: Tensor) -> Tensor:
        points = torch.minimum(self.points(process)[1:, None], start[None])
        return torch.cat([start[None], points, torch.full_like(start[None], self.last)])

    def points(self, process: Process) -> Tensor:
        """The times above `last`, falling."""
        if not process.discrete:
            raise CompatibilityError("Scheduled needs a discrete process; Uniform works with any")
        require_range("steps", self.steps, 1, process.t_max // 2)
        count = torch.arange(self.steps, dtype=torch.float64)
        if self.spacing == "trailing":
            return (process.t_max - count * process.t_max / self.steps).round()
        points = 1 + self.offset + count.flip(0) * (process.t_max // self.steps)
        return points.clamp(max=process.t_max)


@dataclass(frozen=True)
class UnitNoise(Start):
    """x = z at the top of the grid, as the published pipelines start; x = sigma_t z would be a few thousandths less."""

    def __call__(self, observation: Observation, prior: Prior, noise: Noise, top: Tensor) -> State:
        shape = (len(observation.y), *observation.operator.image_shape)
        return State(noise.normal(observation.y.new_empty(shape), 0, "start"), top)


@dataclass(frozen=True)
class Sampler:
    """What a scheduler's configuration says about sampling.

    Attributes:
        offset, last, spacing: see `Scheduled`.
    """

    offset: int = 0
    last: float = 0.0
    spacing: Literal["leading", "trailing"] = "leading"

    @classmethod
    def of(cls, config: dict[str, Any]) -> Sampler:
        """From a scheduler's configuration, whichever solver it is of: only the times are taken.

        Raises:
            PriorError: it changes its betas in a way that is not known here, or its offset is no small whole number.
        """
        if config.get("rescale_betas_zero_snr"):
            raise PriorError("the scheduler rescales its betas to no signal at all, which is not supported")
        offset = config.get("steps_offset", 0)
        if not isinstance(offset, int) or not 0 <= offset <= 10:
            raise PriorError(f"the scheduler's steps_offset is {offset!r}; wanted: a whole number from 0 to 10")
        clean = config.get("set_alpha_to_one", config.get("_class_name") != "PNDMScheduler")
        trailing = config.get("timestep_spacing") == "trailing"
        return cls(offset, 0.0 if clean else 1.0, "trailing" if trailing else "leading")

    def method(self, steps: int = 50, eta: float = 0.0) -> Method:
        """DDIM from noise: `steps` steps of the grid, eta = 1 being ancestral sampling. Raises `CompatibilityError`."""
        grid = Scheduled(steps, self.offset, self.last, self.spacing)
        return Method(grid, DDIM(eta), start=UnitNoise(), name="ddim")
