"""The engine of `reconstruct` and `stream`: images under way, each at its own place in its own column of times.

What an image goes through depends on its own column of `grid.times` alone. So images that started at different times,
or at different moments, can take their next steps together, each from its own row to the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pellucid.errors import CompatibilityError
from pellucid.method import Method
from pellucid.noise import Noise, agreed
from pellucid.prior.base import Estimate, Prior, State
from pellucid.problem import Observation, Source
from pellucid.step import Step
from pellucid.transition import Renoise
from pellucid.typing import expand


@dataclass(frozen=True)
class Part:
    """Images that take their next step.

    Attributes:
        state: where they are.
        x0: the prior's last word on them, for steps that climb by re-noising it.
        observation: their measurements.
        noise: their seeds.
        total: number of steps of the grid.
        images: their numbers.
    """

    state: State
    x0: Tensor
    observation: Observation
    noise: Noise
    total: int = 0
    images: Tensor | None = None


def advance(part: Part, s: Tensor, prior: Prior, method: Method) -> Step:
    """One step of the images of `part` to times s: estimate, refine, move, correct. Upward steps call no network.

    All of them go the same way, up or down.
    """
    state, process = part.state, prior.process
    if bool((s > state.t).any()):
        return _climb(part, s, prior, method)
    raw = prior.estimate(state, differentiable=method.consistency.needs_vjp)
    if method.clip != "no" and prior.codec.bounds is not None:
        raw = raw.clipped(prior.codec.bounds, state, process, method.clip)
    estimate = method.consistency.refine(raw, state, s, part.observation, prior)
    k, nu = method.transition.weights(process, state.t, s, estimate)
    z = part.noise.normal(state.x, state.index, "step")
    mean = method.transition.mean(process, state, s, estimate, k)
    step = Step(state, s, raw, estimate, mean, nu, z, mean + expand(nu, z) * z, part.total, part.images)
    return step.moved(method.consistency.correct(step, part.observation, prior, part.noise))


def _climb(part: Part, s: Tensor, prior: Prior, method: Method) -> Step:
    """x_s for s > t: from the last x0 (`Renoise`), or from x_t itself, read as M_t(x_t / alpha_t) without noise."""
    state, process = part.state, prior.process
    x0 = part.x0 if isinstance(method.climb, Renoise) else state.x / expand(process.alpha(state.t), state.x)
    estimate = Estimate(x0, torch.zeros_like(x0))
    _, nu = method.climb.weights(process, state.t, s, estimate)
    z = part.noise.normal(state.x, state.index, "climb")
    mean = process.mean(x0, s)
    raw = Estimate(part.x0, torch.zeros_like(x0))
    return Step(state, s, raw, estimate, mean, nu, z, mean + expand(nu, z) * z, part.total, part.images)


@dataclass
class Underway:
    """Images under way, everything of them that changes.

    Attributes:
        sources: where every image was observed: (an observation, its place there).
        noise: their seeds.
        images: their numbers, (b,) int64.
        slots: their places in the account, (b,) int64.
        times: the columns of the grid, (rows, b).
        t: where they are, (b,).
        row: the row of `times` that they go to next, (b,) int64; the number of rows where there is none.
        x, x0: state and the prior's last word, (b, ...).
        output: what the method returns if they end here, (b, ...).
        done: whether a stop has ended them, (b,) bool.
    """

    sources: Sequence[Source]
    noise: Noise
    images: Tensor
    slots: Tensor
    times: Tensor
    t: Tensor
    row: Tensor
    x: Tensor
    x0: Tensor
    output: Tensor
    done: Tensor
    _observation: Observation | None = field(default=None, repr=False)

    @classmethod
    def begin(
        cls,
        sources: Sequence[Source],
        noise: Noise,
        prior: Prior,
        method: Method,
        images: Tensor,
        slots: Tensor,
    ) -> Underway:
        """Images at their starts, all started in one batch."""
        observation = Observation.gather(sources)
        top = torch.full((len(sources),), method.grid.top(prior.process), dtype=torch.float64)
        state = method.start(observation, prior, noise, top)
        times = method.grid.times(prior.process, state.t)
        row, done = _next(times, state.t, torch.ones_like(images)), torch.zeros(len(images), dtype=torch.bool)
        x = state.x
        return cls(sources, noise, images, slots, times, state.t, row, x, x, x, done, observation)

    @property
    def observation(self) -> Observation:
        """What was measured of them; put together when it is first needed."""
        if self._observation is None:
            self._observation = Observation.gather(self.sources)
        return self._observation

    @property
    def over(self) -> Tensor:
        """Which images have no step left, (b,) bool."""
        return self.done | (self.row >= len(self.times))

    def in_turn(self) -> Iterator[Tensor]:
        """Row by row of the grid, the images that step there: nobody overtakes another."""
        while not (over := self.over).all():
            yield from self._by_way((~over & (self.row == self.row[~over].min())).nonzero().flatten())

    def at_once(self) -> Iterator[Tensor]:
        """One network call for every image, whatever its row; images that climb do so first."""
        while len(climbing := (self._climbs() & ~self.over).nonzero().flatten()):
            yield climbing
        if len(live := (~self.over).nonzero().flatten()):
            yield live

    def step(self, index: Tensor, prior: Prior, method: Method) -> Step:
        """One step of images `index` (rising)."""
        whole = len(index) == len(self.x)
        to = self.row[index]
        at = agreed(to - 1)
        part = Part(
            State(self.x, self.t, at, self.images)
            if whole
            else State(self.x[index], self.t[index], at, self.images[index]),
            self.x0 if whole else self.x0[index],
            self.observation if whole else self.observation.select(index),
            self.noise if whole else self.noise.select(index),
            len(self.times) - 1,
            self.images[index],
        )
        step = advance(part, self.times[to, index], prior, method)
        self._put(index, step, step.estimate.x0 if method.stop.output == "x0" else step.x_s)
        self.done[index] |= method.stop(step)
        self.row[index] = _next(self.times[:, index], step.s, to + 1)
        return step

    def reach(self, index: Tensor, step: Step) -> None:
        """Makes the refined estimate of their last step the last word on images `index`: for a run that ends there."""
        self.x0 = self.x0.index_copy(0, index.to(self.x.device), step.reached)

    def cut(self) -> None:
        """Ends early: the estimates reached so far become the output of every image that is still on its way."""
        waiting = (~self.over).to(self.x.device).reshape(-1, *(1,) * (self.x.ndim - 1))
        self.output = torch.where(waiting, self.x0, self.output)
        self.done = torch.ones_like(self.done)

    def select(self, index: Tensor) -> Underway:
        """Images `index` (rising), as they are."""
        if len(index) == len(self.x):
            return self
        return Underway(
            [self.sources[i] for i in index.tolist()],
            self.noise.select(index),
            self.images[index],
            self.slots[index],
            self.times[:, index],
            self.t[index],
            self.row[index],
            self.x[index],
            self.x0[index],
            self.output[index],
            self.done[index],
        )

    def joined(self, other: Underway, noise: Noise) -> Underway:
        """These images and, after them, others; `noise` is that of all.

        Raises:
            CompatibilityError: the grid has not the same number of rows for all.
        """
        if len(self.times) != len(other.times):
            raise CompatibilityError(
                f"this grid has {len(self.times) - 1} steps for some images and {len(other.times) - 1} for others; in "
                f"a stream all need as many rows, neighbours being equal where an image does not step"
            )
        return Underway(
            [*self.sources, *other.sources],
            noise,
            torch.cat([self.images, other.images]),
            torch.cat([self.slots, other.slots]),
            torch.cat([self.times, other.times], dim=1),
            torch.cat([self.t, other.t]),
            torch.cat([self.row, other.row]),
            torch.cat([self.x, other.x]),
            torch.cat([self.x0, other.x0]),
            torch.cat([self.output, other.output]),
            torch.cat([self.done, other.done]),
        )

    def _climbs(self) -> Tensor:
        return self.times[self.row.clamp(max=len(self.times) - 1), torch.arange(len(self.row))] > self.t

    def _by_way(self, index: Tensor) -> Iterator[Tensor]:
        """Those of `index` that go up, and those that go down."""
        up = self._climbs()[index]
        yield from (chosen for chosen in (index[up], index[~up]) if len(chosen))

    def _put(self, index: Tensor, step: Step, output: Tensor) -> None:
        if len(index) == len(self.x):
            self.x, self.x0, self.output, self.t = step.x_s, step.raw.x0, output, step.s
            return
        place = index.to(self.x.device)
        self.x = self.x.index_copy(0, place, step.x_s)
        self.x0 = self.x0.index_copy(0, place, step.raw.x0)
        self.output = self.output.index_copy(0, place, output)
        self.t = self.t.index_copy(0, index, step.s)


def _next(times: Tensor, t: Tensor, row: Tensor) -> Tensor:
    """The first row from `row` (b,) on whose time is not t, for every image; the number of rows where there is none."""
    moves = (torch.arange(len(times))[:, None] >= row) & (times != t)
    return torch.where(moves.any(0), moves.to(torch.uint8).argmax(0), len(times))
