"""A budget for methods that start by severity: the starts are scaled until a batch costs no more than allowed.

Every image's way is shortened by one share, at the process's pace: t* -> at_pace(share pace(t*)). Hard images still
take more steps than easy ones; the mean over all of them meets the budget. Given the share, an image's result is its
own, whatever is restored beside it: `pellucid.start.severity.Severity.share` reproduces it alone.

    method = within(flash(), problem, prior, nfe=50)              # a mean of at most 50 network calls an image
    method = within_seconds(flash(), problem, prior, seconds=60)  # about a minute for all of them
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

import torch
from torch import Tensor

from pellucid.account import current
from pellucid.consistency.base import Consistency
from pellucid.errors import CompatibilityError, require_range
from pellucid.grid import Below, Uniform
from pellucid.loop import reconstruct
from pellucid.method import Method
from pellucid.prior.base import Prior
from pellucid.problem import Observation, Problem
from pellucid.process import Process
from pellucid.start.severity import Encoder, Severity
from pellucid.step import Step
from pellucid.typing import Shape

TIMED = 3  # steps that are timed; one more before them warms up
HARDEST = 1e8  # a variance at which every process is at its top
PART = 4096  # images whose grids are laid out together
HALVINGS = 40

Paces = dict[tuple[Shape, Shape], "Pace"]


@dataclass(frozen=True)
class Pace:
    """What an image takes, in seconds.

    Attributes:
        call: for a network call, with all that the method does in between.
        fixed: for the encoder's pass, the decoding and what comes after the last step.
    """

    call: float
    fixed: float


@dataclass(frozen=True)
class Forecast:
    """What a severity encoder predicts, and what a method makes of it, image by image.

    Attributes:
        s2: variance of the estimate's error per entry in the prior's space, (n,) float64.
        t: t*, where the image begins, (n,) float64.
        steps: downward steps from there, (n,) int64.
        calls: network calls, at most, (n,) int64; more than `steps` for methods with several calls a step.
        full: steps from the grid's top.
    """

    s2: Tensor
    t: Tensor
    steps: Tensor
    calls: Tensor
    full: int


@dataclass(frozen=True)
class Survey:
    """The severities of many images, and where it was timed what each of them takes.

    Attributes:
        s2: (n,) float64.
        paces: one an image; none where nothing was timed.
        spent: seconds that the survey took.
    """

    s2: Tensor
    paces: Sequence[Pace] = ()
    spent: float = 0.0

    @classmethod
    def joined(cls, parts: Sequence[Survey]) -> Survey:
        """One survey of the images of several."""
        paces = [pace for part in parts for pace in part.paces]
        return cls(torch.cat([part.s2 for part in parts]), paces, sum(part.spent for part in parts))

    def forecast(self, method: Method, process: Process) -> Forecast:
        """Where every image begins with this method, and what it costs.

        Raises:
            CompatibilityError: the method has no start by severity.
        """
        start = severity_start(method)
        parts = [_counted(method, start, process, s2) for s2 in self.s2.split(PART)]
        t, steps, calls = (torch.cat(column) for column in zip(*parts, strict=True))
        return Forecast(self.s2, t, steps, calls, int(_down(method.grid.times(process, _tops(method, process, 1)))))

    def within(self, method: Method, process: Process, nfe: float) -> Method:
        """The method, its starts scaled so that the mean of `Forecast.calls` is at most `nfe`; never beyond its own.

        Raises:
            CompatibilityError: the method has no start by severity, or `nfe` is negative.
        """
        require_range("nfe", nfe, 0)
        return self._scaled(method, process, torch.ones_like(self.s2), nfe * len(self.s2))

    def within_seconds(self, method: Method, process: Process, seconds: float) -> Method:
        """The method, its starts scaled so that all images together take about `seconds` from now on, or less.

        Where decoding alone takes longer, no step is left.

        Raises:
            CompatibilityError: the method has no start by severity, nothing was timed, or `seconds` is negative.
        """
        require_range("seconds", seconds, 0)
        if len(self.paces) != len(self.s2):
            raise CompatibilityError("a budget of seconds needs a survey that was timed: survey(..., timed=True)")
        calls = torch.tensor([pace.call for pace in self.paces], dtype=torch.float64)
        return self._scaled(method, process, calls, max(0.0, seconds - sum(pace.fixed for pace in self.paces)))

    def _scaled(self, method: Method, process: Process, weights: Tensor, total: float) -> Method:
        """The largest share for which sum(weights calls) <= total, by bisection: calls are counted on the grid."""
        start = severity_start(method)

        def fits(share: float) -> bool:
            calls = self.forecast(with_share(method, share), process).calls
            return float((weights * calls).sum()) <= total

        if fits(start.share):
            return method
        low, high = 0.0, start.share
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return with_share(method, low)


def within(method: Method, problems: Problem | Iterable[Problem], prior: Prior, nfe: float) -> Method:
    """The method with its starts scaled so that the mean number of network calls over all images is at most `nfe`.

    share = max { r <= share of the method : mean_i calls_i(r) <= nfe }, calls counted on the true grid. Scaled once,
    the method is as good for these images alone as for all of them. The severity encoder runs once an image here,
    and again in `reconstruct`; as always, its passes are no network calls.

    Limits: where a method calls the network several times at some steps (the look-ahead of `resample`, the inner steps
    of `daps`), as many calls are assumed at every step, so that the mean stays below `nfe`, perhaps well below; so it
    does where an early stop ends images before their grid does. What a consistency of your own calls beyond its
    attributes `lookahead` and `ode_steps` cannot be known.

    Args:
        method: with a start by severity, as `pellucid.methods.flash` makes it.
        problems: the images, a problem at a time: an iterator of files will do.
        prior: theirs.
        nfe: mean number of calls an image.

    Raises:
        CompatibilityError: the method has no start by severity, `nfe` is negative, or there is no image.
        PellucidError: the parts do not fit each other.
    """
    return survey(method, problems, prior).within(method, prior.process, nfe)


def within_seconds(method: Method, problems: Problem | Iterable[Problem], prior: Prior, seconds: float) -> Method:
    """The method with its starts scaled so that all images, one after the other, take about `seconds` from now.

    What a step takes is measured on the first image of every size, `TIMED` steps from the grid's top after one that
    warms up; the survey's own time is taken off. In batches images take less time each, at most this.

    Limits: as `within`; and steps that differ are not told apart: those at which `resample` optimises come later than
    the ones that are timed. The share depends on the machine; `method.start.share` is what to note down.

    Raises:
        CompatibilityError: the method has no start by severity, `seconds` is negative, or there is no image.
        PellucidError: the parts do not fit each other.
    """
    found = survey(method, problems, prior, timed=True)
    return found.within_seconds(method, prior.process, max(0.0, seconds - found.spent))


def survey(
    method: Method,
    problems: Problem | Iterable[Problem],
    prior: Prior,
    *,
    timed: bool = False,
    paces: Paces | None = None,
) -> Survey:
    """One pass of the severity encoder over all images.

    Args:
        method, problems, prior: see `within`.
        timed: whether to measure what the images take.
        paces: what is known of it, by the shapes of picture and measurement; it grows.

    Raises:
        CompatibilityError: the method has no start by severity, or there is no image.
        PellucidError: the parts do not fit each other.
    """
    began, start = time.perf_counter(), severity_start(method)
    known: Paces = {} if paces is None else paces
    variances: list[Tensor] = []
    each: list[Pace] = []
    for problem in [problems] if isinstance(problems, Problem) else problems:
        method.check(problem, prior)
        with torch.inference_mode(False), torch.no_grad():
            _, s2 = start.encoder(prior.codec.observe(problem), prior)
        variances.append(s2.double().cpu())
        if timed:
            shapes = (tuple(problem.operator.image_shape), tuple(problem.y.shape[1:]))
            if shapes not in known:
                known[shapes] = pace(method, problem, prior)
            each += [known[shapes]] * len(problem.y)
    if not variances:
        raise CompatibilityError("a budget needs at least one image")
    return Survey(torch.cat(variances), each, time.perf_counter() - began)


def pace(method: Method, problem: Problem, prior: Prior) -> Pace:
    """What the first image of a problem takes, measured: no step twice, then a few steps from the top of the grid."""
    start, one = severity_start(method), problem.select(torch.tensor([0]))
    fixed = min(reconstruct(one, prior, with_share(method, 0.0)).seconds for _ in range(2))
    stamps: list[tuple[float, int]] = []

    def stamp(step: Step) -> bool:
        float(step.x_s.sum())  # waits for a GPU
        account = current()
        stamps.append((time.perf_counter(), 0 if account is None else int(account.nfe[0])))
        return len(stamps) > TIMED

    top = replace(start, encoder=_Hardest(start.encoder), rule="exact", share=1.0)
    reconstruct(one, prior, replace(method, start=top), callback=stamp)
    spans = [(b - a) / (n - m) for (a, m), (b, n) in pairwise(stamps) if n > m]
    return Pace(median(spans) if spans else 0.0, fixed)


def severity_start(method: Method) -> Severity:
    """The method's start.

    Raises:
        CompatibilityError: it is another one than `Severity`.
    """
    if isinstance(method.start, Severity):
        return method.start
    raise CompatibilityError(
        f"a budget scales where images begin, and {method.name} has no start by severity: take flash, which puts one "
        f"in front of another method (flash with inner={method.name})"
    )


def with_share(method: Method, share: float) -> Method:
    """The method with another share of the way to t*."""
    return replace(method, start=replace(severity_start(method), share=share))


def most_calls(consistency: Consistency) -> int:
    """The most network calls that a downward step takes: one, and those of a look-ahead or of inner steps."""
    held = vars(consistency)
    more = int(held.get("lookahead", 0)) + max(0, int(held.get("ode_steps", 1)) - 1)
    return 1 + more + sum(most_calls(part) - 1 for part in held.values() if isinstance(part, Consistency))


@dataclass(frozen=True)
class _Hardest:
    """An encoder that is as wrong as can be: the way from the top of the grid."""

    encoder: Encoder

    def __call__(self, observation: Observation, prior: Prior) -> tuple[Tensor, Tensor]:
        z, s2 = self.encoder(observation, prior)
        return z, torch.full_like(s2, HARDEST)


Counted = tuple[Tensor, Tensor, Tensor]


def _counted(method: Method, start: Severity, process: Process, s2: Tensor) -> Counted:
    """(t*, steps, calls) for variances s2 (n,)."""
    t = torch.minimum(start.time(process, s2), _tops(method, process, len(s2)))
    steps = _down(method.grid.times(process, t))
    calls = steps * most_calls(method.consistency)
    if start.rule == "inversion":  # the way up is walked through the points of the start's grid that lie below t*
        calls = calls + (_down(Below(start.grid or Uniform(50)).times(process, t)) - 1).clamp(min=0)
    return t, steps, calls


def _tops(method: Method, process: Process, count: int) -> Tensor:
    return torch.full((count,), method.grid.top(process), dtype=torch.float64)


def _down(times: Tensor) -> Tensor:
    """How many steps go down; those on the way up call no network."""
    return (times[1:] < times[:-1]).sum(0)
