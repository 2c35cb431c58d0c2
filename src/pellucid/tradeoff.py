"""What stopping earlier or later would have given: one run, and every estimate on its way.

found, = tradeoff(problem, prior, pellucid.methods.get("dirac").build(), seeds=0)
found.times, found.residual       # the path, from one call to the full run
found.pictures[0]                 # one-shot; found.pictures[-1] is the full run
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from pellucid.account import current, uncounted
from pellucid.errors import require_range
from pellucid.loop import Callback, Result, reconstruct
from pellucid.method import Method
from pellucid.noise import Noise
from pellucid.operators.unknown import Unknown
from pellucid.prior.base import Prior
from pellucid.problem import Problem
from pellucid.step import Step
from pellucid.stop import StopBelow

STOPS = 6

Measure = Callable[[Tensor, Tensor], dict[str, Tensor]]
"""(pictures (b, c, h, w), which images they are (b,)) -> {name: (b,)}: what is to be known of every estimate."""


@dataclass(frozen=True)
class Tradeoff:
    """The estimates x0_hat along one image's way, in the order that they were made.

    Attributes:
        times: that each was estimated at, (k,) float64, falling.
        nfe: network calls up to it, (k,) int64.
        residual: |y - A(x0_hat)|^2 / (n sigma^2) for n measured values, (k,) float64: about 1 where the estimate
            explains the measurement as well as the truth would. NaN where the noise is 0 or the operator unknown.
        figures: what `measure` told of each, by name, (k,) float64.
        shown: which of them were kept as pictures, (m,) int64, rising.
        pictures: those, (m, c, h, w) on the CPU, in the units of [0, 1], not clipped.
        chosen: which of them the method stops at.
    """

    times: Tensor
    nfe: Tensor
    residual: Tensor
    figures: dict[str, Tensor]
    shown: Tensor
    pictures: Tensor
    chosen: int


def tradeoff(
    problem: Problem,
    prior: Prior,
    method: Method,
    seeds: int | Iterable[int] | Noise = 0,
    *,
    stops: int = STOPS,
    measure: Measure | None = None,
    callback: Callback | None = None,
) -> list[Tradeoff]:
    """Goes every image's way to its end, whatever the method's stop, and keeps what it was on the way; one an image.

    An estimate is kept as numbers; as pictures only `stops` of them, evenly spaced in steps from the first to the
    last, and the one that the method stops at. Dirac's estimates go from the mean of what the measurement leaves
    possible (t near 1) to a sample of it (Fabian, Tinaz and Soltanolkotabi, DiracDiffusion, ICML 2024, sec. 4).

    Raises:
        CompatibilityError: fewer than 2 stops.
        PellucidError: as `reconstruct`.
    """
    return recorded(problem, prior, method, seeds, stops=stops, measure=measure, callback=callback)[1]


def recorded(
    problem: Problem,
    prior: Prior,
    method: Method,
    seeds: int | Iterable[int] | Noise = 0,
    *,
    stops: int = STOPS,
    measure: Measure | None = None,
    callback: Callback | None = None,
) -> tuple[Result, list[Tradeoff]]:
    """As `tradeoff`, with the result that the method itself gives: its picture, and where it stopped.

    NFE and seconds are those of the whole way. Of an image that makes no step at all, because it starts where the way
    ends, the result is the one estimate. A method's last touch (`Method.finish`) is that of the whole way too.
    """
    require_range("stops", stops, 2)
    notes = [_Notes() for _ in range(len(problem.y))]
    watch = _Watch(problem, prior, method, notes, stops, measure, callback)
    result = reconstruct(problem, prior, _to_the_end(method), seeds=seeds, callback=watch)
    for image, note in enumerate(notes):
        if not note.times:
            watch.only(image, result)
    images = [
        result.image[i] if note.picture is None else note.picture.to(result.image) for i, note in enumerate(notes)
    ]
    stopped = torch.stack([result.stopped_at[i] if n.stopped is None else n.stopped for i, n in enumerate(notes)])
    complete = result.complete or all(note.chosen is not None for note in notes)
    told = replace(result, image=torch.stack(images), stopped_at=stopped, complete=complete)
    return told, [note.read() for note in notes]


def _to_the_end(method: Method) -> Method:
    """The method without its early stop."""
    return replace(method, stop=replace(method.stop, time=0.0)) if isinstance(method.stop, StopBelow) else method


@dataclass
class _Notes:
    """What is written down of one image."""

    rows: frozenset[int] = frozenset()
    times: list[float] = field(default_factory=list)
    nfe: list[int] = field(default_factory=list)
    residual: list[float] = field(default_factory=list)
    figures: dict[str, list[float]] = field(default_factory=dict)
    kept: dict[int, Tensor] = field(default_factory=dict)
    chosen: int | None = None
    picture: Tensor | None = None  # what the method returns, where it stops early
    stopped: Tensor | None = None

    def read(self) -> Tradeoff:
        shown = sorted(self.kept)
        return Tradeoff(
            torch.tensor(self.times, dtype=torch.float64),
            torch.tensor(self.nfe, dtype=torch.int64),
            torch.tensor(self.residual, dtype=torch.float64),
            {name: torch.tensor(values, dtype=torch.float64) for name, values in self.figures.items()},
            torch.tensor(shown, dtype=torch.int64),
            torch.stack([self.kept[k] for k in shown]) if shown else torch.empty(0),
            len(self.times) - 1 if self.chosen is None else self.chosen,
        )


@dataclass
class _Watch:
    """The callback that writes it down."""

    problem: Problem
    prior: Prior
    method: Method
    notes: list[_Notes]
    stops: int
    measure: Measure | None
    callback: Callback | None

    def __call__(self, step: Step) -> bool | None:
        if not bool((step.s > step.state.t).any()):  # on the way up nothing is estimated
            self._write(step)
        return None if self.callback is None else self.callback(step)

    def only(self, image: int, result: Result) -> None:
        """Writes down an image that no step was made of, by what it became."""
        note, images = self.notes[image], torch.tensor([image])
        pictures, ended = result.image[image : image + 1], result.stopped_at[image : image + 1]
        with uncounted(), torch.no_grad():
            residual = self._residual(pictures, images)
            figures = {} if self.measure is None else self.measure(pictures, images)
        note.times.append(float(ended))
        note.nfe.append(int(result.nfe[image]))
        note.residual.append(float(residual))
        note.figures = {name: [float(values)] for name, values in figures.items()}
        note.kept[0] = pictures[0].cpu()
        if not self._steps(ended):  # and not because the run was cut before its turn
            note.chosen = 0

    def _write(self, step: Step) -> None:
        assert step.images is not None
        images, account, done = step.images.cpu(), current(), self.method.stop(step)
        with uncounted():
            pictures = self._picture(step.reached)
            residual = self._residual(pictures, images)
            figures = {} if self.measure is None else self.measure(pictures, images)
        for place, image in enumerate(images.tolist()):
            note = self.notes[image]
            number = len(note.times)
            if not number:
                note.rows = self._evenly(step.state.t[place : place + 1])
            note.times.append(float(step.state.t[place]))
            note.nfe.append(0 if account is None else int(account.nfe[image]))
            note.residual.append(float(residual[place]))
            for name, values in figures.items():
                note.figures.setdefault(name, []).append(float(values[place]))
            stops = note.chosen is None and bool(done[place])
            if number in note.rows or stops:
                note.kept[number] = pictures[place].cpu()
            if stops:
                note.chosen, note.stopped = number, step.s[place]
                estimate = self.method.stop.output == "x0"
                note.picture = (pictures if estimate else self._picture(step.x_s))[place].cpu()

    def _picture(self, z: Tensor) -> Tensor:
        return self.prior.codec.picture(z, self.problem.operator.image_shape)

    def _evenly(self, start: Tensor) -> frozenset[int]:
        """Which of the steps that an image goes down from its start (1,) are kept as pictures."""
        steps = self._steps(start)
        return frozenset(torch.linspace(0, steps - 1, min(self.stops, steps)).round().long().tolist())

    def _steps(self, start: Tensor) -> int:
        """How many steps an image goes down from its start (1,)."""
        times = self.method.grid.times(self.prior.process, start)
        return int((times[1:] < times[:-1]).sum())

    def _residual(self, pictures: Tensor, images: Tensor) -> Tensor:
        """|y - A(x0_hat)|^2 / (n sigma^2), (b,) float64."""
        problem = self.problem
        if isinstance(problem.operator, Unknown):
            return torch.full((len(images),), torch.nan, dtype=torch.float64)
        if len(images) < len(problem.y):
            problem = problem.select(images.to(problem.y.device))
        variance = problem.variance.double()
        misfit = (problem.y - problem.operator(pictures.to(problem.y))).double().square()
        return torch.where(variance > 0, misfit / variance, torch.nan).flatten(1).mean(1).cpu()
