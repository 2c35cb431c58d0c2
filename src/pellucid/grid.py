"""Grids: which times a reconstruction visits, from the start's time down to 0, some of them on the way up again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.errors import CompatibilityError, require_range
from pellucid.process import Process


class Grid(ABC):
    """A sequence of times for every image."""

    def top(self, process: Process) -> float:
        """The time that a start from pure noise belongs to."""
        return process.t_max

    @abstractmethod
    def times(self, process: Process, start: Tensor) -> Tensor:
        """(steps + 1, b) times: `start` (b,) first, 0 last. Where two neighbours agree, that image does not step."""


@dataclass(frozen=True)
class Uniform(Grid):
    """t_k = start (1 - k / steps), at the process's pace; whole times in a discrete process ("trailing" elsewhere).

    Args:
        steps: number of network calls.
        power: exponent of the spacing: 2 is denser near 0 (quadratic), 1 even.
    """

    steps: int
    power: float = 1.0

    def __post_init__(self) -> None:
        require_range("steps", self.steps, 1)
        require_range("power", self.power, 0, above=True)

    def times(self, process: Process, start: Tensor) -> Tensor:
        share = torch.linspace(1, 0, self.steps + 1, dtype=torch.float64)[:, None] ** self.power
        times = torch.cat([start[None], process.on_grid(process.at_pace(share * process.pace(start)))[1:]])
        return _distinct(times) if process.discrete else times


@dataclass(frozen=True)
class Inclusive(Grid):
    """Both ends of a discrete schedule: t_j = 1 + round(j (start - 1) / (steps - 1)), j = steps - 1 .. 0, then 0.

    With start = T this is guided-diffusion's respacing, with another start SSD's lists. The stride is added up in
    floating point, as both codes do, which decides how halves are rounded.
    """

    steps: int

    def __post_init__(self) -> None:
        require_range("steps", self.steps, 1)

    def times(self, process: Process, start: Tensor) -> Tensor:
        _discrete(process, self)
        if self.steps == 1:
            return torch.stack([start, 0 * start])
        stride = ((start - 1) / (self.steps - 1)).expand(self.steps - 1, -1)
        times = 1 + torch.cat([0 * start[None], stride.cumsum(0)]).flip(0).round()
        return torch.cat([times.clamp(min=1), 0 * start[None]])


@dataclass(frozen=True)
class Leading(Grid):
    """t_j = 1 + floor(j T / steps), j = steps - 1 .. 0, then 0 ("leading" elsewhere).

    Where steps divides T this is the grid of DDRM's and DDNM's codes; elsewhere theirs has a few points more than
    asked.

    Raises:
        CompatibilityError: when used, for more steps than the process has times.
    """

    steps: int

    def __post_init__(self) -> None:
        require_range("steps", self.steps, 1)

    def top(self, process: Process) -> float:
        return float(self.points(process)[0])

    def times(self, process: Process, start: Tensor) -> Tensor:
        points = torch.minimum(self.points(process)[:, None], start[None])
        return torch.cat([start[None], points[1:], 0 * start[None]])

    def points(self, process: Process) -> Tensor:
        """The times above 0, falling."""
        _discrete(process, self)
        require_range("steps", self.steps, 1, process.t_max)
        return 1 + torch.floor(torch.arange(self.steps - 1, -1, -1, dtype=torch.float64) * process.t_max / self.steps)


@dataclass(frozen=True)
class LatentDiffusion(Grid):
    """t_i = 2 + i floor(T / steps), i = steps - 1 .. 0, then 1: CompVis's DDIM grid.

    It ends one time short of clean, where the published code takes the state for the latent. Where steps does not
    divide T the code has a few points more than asked; here they are left out at the top.

    Raises:
        CompatibilityError: when used, for more steps than half the times of the process.
    """

    steps: int

    def __post_init__(self) -> None:
        require_range("steps", self.steps, 1)

    def top(self, process: Process) -> float:
        return float(self.points(process)[0])

    def times(self, process: Process, start: Tensor) -> Tensor:
        return torch.cat([start[None], torch.minimum(self.points(process)[1:, None], start[None])])

    def points(self, process: Process) -> Tensor:
        """The times, falling."""
        _discrete(process, self)
        require_range("steps", self.steps, 1, process.t_max / 2)
        pitch = process.t_max // self.steps
        times = 2 + pitch * torch.arange(self.steps - 1, -1, -1, dtype=torch.float64)
        return torch.cat([times, times.new_ones(1)])


@dataclass(frozen=True)
class TimeTravel(Grid):
    """Goes back up `length` points of a grid, `repeat` times in all, at every `length`-th point.

    Lugmayr et al., RePaint, CVPR 2022, Algorithm 1 and appendix; DDNM uses it under the name time travel.

    Args:
        grid: the grid to travel on.
        length: how many points back at a time.
        repeat: how often a stretch is walked down; 1 is no travel.
    """

    grid: Grid
    length: int = 10
    repeat: int = 10

    def __post_init__(self) -> None:
        require_range("travel length", self.length, 1)
        require_range("travel repeat", self.repeat, 1)

    def top(self, process: Process) -> float:
        return self.grid.top(process)

    def times(self, process: Process, start: Tensor) -> Tensor:
        times = self.grid.times(process, start)
        return times[torch.tensor(self.order(len(times) - 1))]

    def order(self, steps: int) -> list[int]:
        """Indices into the grid's times, 0 (noisiest) .. steps (clean)."""
        left = dict.fromkeys(range(0, steps - self.length, self.length), self.repeat - 1)
        height, path = steps, []
        while height >= 1:
            height -= 1
            path.append(height)
            if left.get(height, 0) > 0:
                left[height] -= 1
                path.extend(range(height + 1, height + self.length + 1))
                height += self.length
        return [steps - 1 - h for h in path] + [steps]


@dataclass(frozen=True)
class Through(Grid):
    """A grid that is made to pass through given times: each takes the place of the nearest point at or above it.

    Args:
        grid: the grid.
        up: the grid whose times, counted from its lowest as 0, ...
        points: ... at these positions are wanted.
    """

    grid: Grid
    up: Grid
    points: tuple[int, ...]

    def top(self, process: Process) -> float:
        return self.grid.top(process)

    def times(self, process: Process, start: Tensor) -> Tensor:
        times, wanted = self.grid.times(process, start).clone(), self.wanted(process, start)
        for target in wanted:
            above = (times >= target).sum(0) - 1  # times fall, so the last one at or above is the nearest
            times.scatter_(0, above[None], target[None])
        return times

    def wanted(self, process: Process, start: Tensor) -> Tensor:
        """The times to pass through, (points, b)."""
        return self.up.times(process, start)[:-1].flip(0)[list(self.points)]


@dataclass(frozen=True)
class Below(Grid):
    """Those times of a grid that lie below each image's start: the grid from its own top, entered at the start.

    What a start that knows its time is for: a later start takes fewer steps, not shorter ones. DDPM is
    `Below(Uniform(T))`, a DDIM sub-sequence `Below(Uniform(n))`. Steps are numbered from the grid's top.

    Args:
        grid: the grid.
    """

    grid: Grid

    def top(self, process: Process) -> float:
        return self.grid.top(process)

    def times(self, process: Process, start: Tensor) -> Tensor:
        points = self.points(process)[1:, None].to(start.device)
        return torch.cat([start[None], torch.minimum(points, start[None])])

    def points(self, process: Process) -> Tensor:
        """The grid's times from its top, 0 last."""
        return self.grid.times(process, torch.tensor([self.top(process)], dtype=torch.float64))[:, 0]


@dataclass(frozen=True)
class Nowhere(Grid):
    """No step at all: what the start returns is the result."""

    def times(self, process: Process, start: Tensor) -> Tensor:
        return start[None]


def _distinct(times: Tensor) -> Tensor:
    """Whole times lifted, from the lowest up, until no two agree, as far as there is room below the start."""
    count = len(times) - 1
    room = torch.arange(count, -1, -1, dtype=times.dtype)[:, None]
    return torch.minimum(torch.maximum(times, room), times[:1])


def _discrete(process: Process, grid: Grid) -> None:
    if not process.discrete:
        raise CompatibilityError(f"{type(grid).__name__} needs a discrete process; Uniform works with any")
