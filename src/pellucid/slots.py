"""Continuous batching: images enter a running batch at their own starts, and leave it when they end.

    for number, result in stream(problems, prior, method, slots=8): ...

Images of one batch rarely need the same number of steps. A batch that is padded computes on for images that have ended,
one that shrinks no longer fills the hardware. Here a fixed number of slots is kept full: an image that ends makes room
for the next one, which begins at its own start, and every network call serves all slots, each at a time of its own.
Since noise is a function of the image's seed, its own step and the purpose, every result is that of the image alone.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import index as whole_number
from typing import Literal

import torch
from torch import Tensor

from pellucid.account import Account, charging, counting
from pellucid.engine import Underway
from pellucid.errors import CompatibilityError, PellucidError, ProblemError, require_range
from pellucid.loop import Callback, Result
from pellucid.method import RUNGS, Method, needs_of_pictures
from pellucid.noise import Noise, SeededNoise
from pellucid.operators.base import LinearOperator, Operator, Spectral
from pellucid.operators.each import same
from pellucid.operators.mask import Mask
from pellucid.operators.tomography import Tomograph
from pellucid.prior.base import Prior
from pellucid.problem import Observation, Problem
from pellucid.step import Step
from pellucid.typing import Shape

Order = Literal["input", "completion"]
Arrival = tuple[int, Result]
"""(the number of an image, from 0, its result)."""


def stream(
    problems: Iterable[Problem],
    prior: Prior,
    method: Method,
    *,
    slots: int = 8,
    seeds: int | Iterable[int] | Noise = 0,
    order: Order = "input",
    callback: Callback | None = None,
) -> Iterator[Arrival]:
    """Reconstructs images from a stream of problems, up to `slots` of them at a time, each as if it were alone.

    Problems are taken when there is room, never more images than slots (and the rest of the last problem) beyond those
    that have ended. Their images may have operators of their own. Those whose operators and pictures are of one kind
    and shape share every network call; a mixture of kinds shares the slots, and takes its steps kind by kind.

    Args:
        problems: each of one image or several; images are numbered from 0 as they come.
        prior: what pictures look like.
        method: how to proceed.
        slots: how many images are under way at a time.
        seeds: one an image; an int s stands for s, s + 1, ...; or a source of noise for all of them.
        order: "input" yields results in the order of the images, and keeps those that end before their turn;
            "completion" yields each when it ends.
        callback: sees every step, whose `images` are the numbers of those that take it, each at its own one of
            `indices`; returning True ends the stream there, with the estimates reached so far.

    Returns:
        An iterator of (number of the image, its result): a batch of one, whose `seconds` are those from its entry on.

    Raises:
        PellucidError: the method's steps depend on the batch, or, by the number of the image, a problem does not fit.
            A list of problems is checked before any work; a problem that comes later is an error after the results of
            those that are under way.
    """
    require_range("slots", slots, 1)
    if order not in ("input", "completion"):
        raise CompatibilityError(f"order must be input or completion, not {order!r}")
    wrapped = prior if method.wrap is None else method.wrap(prior)
    if prior.own_images:
        raise CompatibilityError(
            "a prior that sees image i of a batch with an adapter of its own takes all images in one reconstruct(); "
            "in a stream they come and go"
        )
    if wrapped.remembers:
        raise CompatibilityError(
            f"{method.name} looks back at what the network did for the same images together "
            f"({type(wrapped).__name__}), and a stream's batch changes; use reconstruct, or leave that option out "
            f"(attention=False)"
        )
    if isinstance(problems, Sequence):
        number = 0
        for problem in problems:
            _check(problem, number, prior, method)
            number += len(problem.y)
    return _Stream(iter(problems), prior, wrapped, method, slots, _Seeds(seeds), order, callback).results()


@dataclass(frozen=True)
class _Kind:
    """What images must have in common to take their steps in one batch, and come out as if alone.

    Algorithms choose their way by the rung of the operator, and by whether there is Poisson noise.

    Attributes:
        image_shape: of a picture.
        y: shape, dtype and device of a measurement.
        rungs: of the operators on pictures and on the prior's space.
        own: the operator itself, where a method looks at more of it than its rung: those of one object only.
        poisson: whether there is Poisson noise.
    """

    image_shape: Shape
    y: tuple[Shape, torch.dtype, torch.device]
    rungs: tuple[object, ...]
    own: object
    poisson: bool

    @classmethod
    def of(cls, observation: Observation, operator: Operator, method: Method) -> _Kind:
        y, consistency = observation.y, method.consistency
        special = any(needs not in RUNGS for needs in (consistency.needs, needs_of_pictures(consistency)))
        own: object = None
        if isinstance(operator, Tomograph) or (special and type(operator) is not Mask):
            own = id(operator)
        elif special:
            own = Mask  # masks of their own in one batch are a mask
        rungs = (*_rung(operator), *_rung(observation.operator))
        return cls(
            operator.image_shape, (tuple(y.shape[1:]), y.dtype, y.device), rungs, own, observation.gain is not None
        )


@dataclass(frozen=True)
class _Waiting:
    """An image that has no slot yet.

    Attributes:
        number: its number.
        observation, place: where it was observed, and where there.
        operator: of its problem.
        kind: which images it can share steps with.
        applied: calls of the operator that observing it took.
    """

    number: int
    observation: Observation
    place: int
    operator: Operator
    kind: _Kind
    applied: int


class _Seeds:
    """The noise of images by their numbers."""

    def __init__(self, seeds: int | Iterable[int] | Noise) -> None:
        self.given = seeds if isinstance(seeds, Noise) else None
        self.first = None if isinstance(seeds, (Iterable, Noise)) else whole_number(seeds)
        self.coming = iter(seeds) if isinstance(seeds, Iterable) else iter(())
        self.known: dict[int, int] = {}

    def take(self, number: int) -> None:
        """Finds the seed of the next image."""
        if self.given is not None:
            return
        seed = next(self.coming, None) if self.first is None else self.first + number
        if seed is None:
            raise ProblemError(f"there is no seed for image {number}: give one an image, or a number to count from")
        self.known[number] = seed

    def noise(self, images: Tensor) -> Noise:
        """Of some images, in that order."""
        if self.given is not None:
            return self.given.select(images)
        return SeededNoise([self.known[number] for number in images.tolist()])

    def forget(self, images: Tensor) -> None:
        """Drops the seeds of images that have ended."""
        for number in images.tolist():
            self.known.pop(number, None)


@dataclass
class _Stream:
    """A stream in progress."""

    problems: Iterator[Problem]
    given: Prior
    prior: Prior
    method: Method
    slots: int
    seeds: _Seeds
    order: Order
    callback: Callback | None
    lanes: dict[_Kind, Underway] = field(default_factory=dict)
    waiting: deque[_Waiting] = field(default_factory=deque)
    entered: dict[int, float] = field(default_factory=dict)
    early: dict[int, Result] = field(default_factory=dict)
    cut: set[int] = field(default_factory=set)
    taken: int = 0
    turn: int = 0
    ended: bool = False
    failure: Exception | None = None

    def __post_init__(self) -> None:
        with torch.inference_mode(False):
            self.account = Account(self.slots)
        self.free = list(range(self.slots))

    def results(self) -> Iterator[Arrival]:
        """Every image's result. What is computed is computed between two of them: the caller's modes are left alone."""
        while True:
            self._fill()
            if not self.lanes:
                break
            with self._working():
                self._turn()
                arrived = [arrival for kind in list(self.lanes) for arrival in self._leave(kind)]
            yield from self._in_order(arrived)
        yield from sorted(self.early.items())  # none, unless an image before them has failed
        if self.failure is not None:
            raise self.failure

    def _fill(self) -> None:
        """Gives free slots to waiting images. Those of one operator start in one batch."""
        while len(self.waiting) < len(self.free) and self._take():
            pass
        entering = [self.waiting.popleft() for _ in range(min(len(self.free), len(self.waiting)))]
        for _, group in groupby(entering, key=lambda image: (image.kind, id(image.operator))):
            with self._working():
                self._enter(list(group))

    def _take(self) -> bool:
        """Lets the images of the next problem wait; False where there is none."""
        if self.ended:
            return False
        try:
            problem = next(self.problems)
            _check(problem, self.taken, self.given, self.method)
            self._observe(problem)
        except StopIteration:
            self.ended = True
        except Exception as error:
            self._fail(error)
        return not self.ended

    def _observe(self, problem: Problem) -> None:
        if problem.operator.batch is None:
            known = (known for known in self._operators() if same(known, problem.operator))
            problem = replace(problem, operator=next(known, problem.operator))
        with self._working(), counting(len(problem.y)) as spent:
            try:
                observation = self.prior.codec.observe(problem)
            except PellucidError as error:
                raise _named(error, range(self.taken, self.taken + len(problem.y))) from None
        kind = _Kind.of(observation, problem.operator, self.method)
        for place in range(len(problem.y)):
            self.seeds.take(self.taken)
            self.waiting.append(
                _Waiting(self.taken, observation, place, problem.operator, kind, int(spent.applied[place]))
            )
            self.taken += 1

    def _operators(self) -> Iterator[Operator]:
        """Those that images share at the moment, latest first."""
        seen = [image.operator for image in self.waiting]
        under_way = [whole.problem for lane in self.lanes.values() for whole, _ in lane.sources]
        seen += [problem.operator for problem in under_way if problem is not None]
        return iter({id(operator): operator for operator in reversed(seen)}.values())

    def _enter(self, images: list[_Waiting]) -> None:
        """Starts images of one operator together, and lets them join those of their kind."""
        slots, self.free = torch.tensor(self.free[: len(images)]), self.free[len(images) :]
        numbers = torch.tensor([image.number for image in images])
        self.entered.update(dict.fromkeys(slots.tolist(), time.perf_counter()))
        self.account.clear(slots)
        self.account.applied[slots] = torch.tensor([image.applied for image in images])
        self.account.live = slots
        sources = [(image.observation, image.place) for image in images]
        try:
            new = Underway.begin(sources, self.seeds.noise(numbers), self.prior, self.method, numbers, slots)
        except PellucidError as error:
            self.free += slots.tolist()
            self._fail(_named(error, numbers.tolist()))
            return
        kind = images[0].kind
        lane = self.lanes.get(kind)
        if lane is not None:
            new = lane.joined(new, self.seeds.noise(torch.cat([lane.images, numbers])))
        self.lanes[kind] = new

    def _turn(self) -> None:
        """One network call for every image under way."""
        for lane in self.lanes.values():
            for index in lane.at_once():
                self.account.live = lane.slots[index]
                step = lane.step(index, self.prior, self.method)
                if self.callback is not None and self.callback(step):
                    self._cut(lane, index, step)
                    return

    def _cut(self, lane: Underway, index: Tensor, step: Step) -> None:
        """Ends everything here."""
        lane.reach(index, step)
        for each in self.lanes.values():
            self.cut.update(each.images[~each.over].tolist())
            each.cut()
        self.waiting.clear()
        self.ended = True

    def _leave(self, kind: _Kind) -> Iterator[Arrival]:
        """The results of images that have ended; their slots are free again."""
        lane = self.lanes[kind]
        over = lane.over
        if not over.any():
            return
        left = lane.select(over.nonzero().flatten())
        stay = (~over).nonzero().flatten()
        if len(stay):
            self.lanes[kind] = lane.select(stay)
        else:
            del self.lanes[kind]
        image = self._picture(left, kind.image_shape)
        account, costs = self.account, self.prior.costs
        for i, (number, slot) in enumerate(zip(left.images.tolist(), left.slots.tolist(), strict=True)):
            own = slice(slot, slot + 1)
            yield (
                number,
                Result(
                    image[i : i + 1],
                    account.nfe[own].clone(),
                    account.vjp[own].clone(),
                    account.decodes[own].clone(),
                    account.decode_vjps[own].clone(),
                    account.encodes[own].clone(),
                    int(account.applied[slot]),
                    time.perf_counter() - self.entered.pop(slot),
                    left.t[i : i + 1],
                    number not in self.cut,
                    started_at=left.times[0, i : i + 1],
                    adaptation=costs if len(costs) < 2 else costs[number : number + 1],
                ),
            )
        self.seeds.forget(left.images)
        self.free += left.slots.tolist()

    def _picture(self, left: Underway, image_shape: Shape) -> Tensor:
        """What the method returns, decoded."""
        z, self.account.live = left.output, left.slots
        whole = torch.tensor([number not in self.cut for number in left.images.tolist()]).nonzero().flatten()
        if self.method.finish is not None and len(whole):
            chosen = left.select(whole)
            self.account.live = chosen.slots
            finished = self.method.finish(chosen.output, chosen.observation, self.prior)
            z = z.index_copy(0, whole.to(z.device), finished)
            self.account.live = left.slots
        return self.prior.codec.picture(z, image_shape)

    def _in_order(self, arrived: list[Arrival]) -> Iterator[Arrival]:
        if self.order == "completion":
            yield from arrived
            return
        self.early.update(arrived)
        while self.turn in self.early:
            self.turn += 1
            yield self.turn - 1, self.early.pop(self.turn - 1)

    def _fail(self, error: Exception) -> None:
        """Takes no more; what is under way goes on to its end, and then the error is raised."""
        self.failure, self.ended = self.failure or error, True

    @contextmanager
    def _working(self) -> Iterator[None]:
        with torch.inference_mode(False), torch.no_grad(), charging(self.account):
            try:
                yield
            finally:
                self.account.live = None


def _check(problem: object, number: int, prior: Prior, method: Method) -> None:
    if not isinstance(problem, Problem):
        raise ProblemError(f"image {number}: a stream takes problems, not a {type(problem).__name__}")
    try:
        method.check(problem, prior)
    except PellucidError as error:
        raise _named(error, range(number, number + len(problem.y))) from None


def _named(error: PellucidError, numbers: Sequence[int]) -> PellucidError:
    """The error, with the numbers of the images that it is about."""
    which = f"image {numbers[0]}" if len(numbers) == 1 else f"images {', '.join(map(str, numbers))}"
    error.args = (f"{which}: {error}",)
    return error


def _rung(operator: Operator) -> tuple[object, ...]:
    for rung in (Spectral, LinearOperator):
        if isinstance(operator, rung):
            return rung, operator.iterative_pinv
    return (Operator,)
