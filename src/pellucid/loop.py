"""The loop that every method runs in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.account import counting
from pellucid.method import Method
from pellucid.noise import Noise, SeededNoise
from pellucid.prior.base import Estimate, Prior, State
from pellucid.problem import Observation, Problem
from pellucid.step import Step
from pellucid.transition import Renoise
from pellucid.typing import expand

Callback = Callable[[Step], bool | None]


@dataclass(frozen=True)
class Result:
    """A reconstruction and what it cost.

    Attributes:
        image: (b, c, h, w), in the units of [0, 1], not clipped.
        nfe: forward passes of the network per image, (b,).
        vjp: vector-Jacobian products of the network per image, (b,).
        decodes, decode_vjps: forward passes of an autoencoder's decoder per image, and gradients through it, (b,).
        encodes: forward passes of its encoder per image, (b,).
        operator_calls: applications of A, its adjoint or pseudo-inverse, or a solve in its basis, for the batch.
        seconds: wall time.
        stopped_at: the time that every image ended at, (b,); 0 for a finished one.
        complete: False if a callback ended the run early.
        trace: the steps, if asked for.
    """

    image: Tensor
    nfe: Tensor
    vjp: Tensor
    decodes: Tensor
    decode_vjps: Tensor
    encodes: Tensor
    operator_calls: int
    seconds: float
    stopped_at: Tensor
    complete: bool
    trace: list[Step] | None = None


def reconstruct(
    problem: Problem,
    prior: Prior,
    method: Method,
    *,
    seeds: int | Iterable[int] | Noise = 0,
    callback: Callback | None = None,
    trace: bool = False,
) -> Result:
    """Reconstructs every image of the batch as if it were alone.

    Args:
        problem: the measurements (b, ...), the operator and the noise.
        prior: what pictures look like.
        method: how to proceed.
        seeds: one an image; an int s stands for s, s + 1, ...; or a source of noise.
        callback: sees every step; returning True ends the run there, with the estimates reached so far.
        trace: keep every step in the result.

    Raises:
        PellucidError: the parts do not fit each other or the pictures; said before any work is done.
    """
    method.check(problem, prior)
    prior = prior if method.wrap is None else method.wrap(prior)
    began, steps, complete = time.perf_counter(), [], True
    # A caller's inference mode would keep guidance from its gradients.
    with torch.inference_mode(False), torch.no_grad(), counting(len(problem.y)) as account:
        batch = _begin(problem, prior, method, seeds)
        times = method.grid.times(prior.process, batch.t)
        for index, s in enumerate(times[1:]):
            account.live = batch.live(s)
            if not len(account.live):
                continue
            part = batch.part(account.live, index, total=len(times) - 1)
            step = advance(part, s[account.live], prior, method)
            batch.put(account.live, step, step.estimate.x0 if method.stop.output == "x0" else step.x_s)
            batch.done[account.live] |= method.stop(step)
            if trace:
                steps.append(step.without_graph())
            if callback is not None and callback(step) and batch.under_way:
                batch.cut(account.live, step)
                complete = False
                break
        account.live = None
        z = batch.output
        if method.finish is not None and complete:
            z = method.finish(z, batch.observation, prior)
        image = prior.codec.picture(z, problem.operator.image_shape)
    return Result(
        image,
        account.nfe,
        account.vjp,
        account.decodes,
        account.decode_vjps,
        account.encodes,
        account.operator_calls,
        time.perf_counter() - began,
        batch.t,
        complete,
        steps if trace else None,
    )


@dataclass(frozen=True)
class Part:
    """Those images of a batch that take the next step.

    Attributes:
        state: where they are.
        x0: the prior's last word on them, for steps that climb by re-noising it.
        observation: their measurements.
        noise: their seeds.
        total: number of steps of the grid.
    """

    state: State
    x0: Tensor
    observation: Observation
    noise: Noise
    total: int = 0


def advance(part: Part, s: Tensor, prior: Prior, method: Method) -> Step:
    """One step of the images of `part` to times s: estimate, refine, move, correct. Upward steps call no network."""
    state, process = part.state, prior.process
    if bool((s > state.t).any()):
        return _climb(part, s, prior, method)
    raw = prior.estimate(state, differentiable=method.consistency.needs_vjp)
    if method.clip != "no" and prior.codec.bounds is not None:
        raw = raw.clipped(prior.codec.bounds, state, process, method.clip)
    estimate = method.consistency.refine(raw, state, s, part.observation, prior)
    k, nu = method.transition.weights(process, state.t, s, estimate)
    z = part.noise.normal(state.x, state.index, "step")
    mean = process.mean(estimate.x0, s) + expand(k, state.x) * estimate.eps
    step = Step(state, s, raw, estimate, mean, nu, z, mean + expand(nu, z) * z, part.total)
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
    return Step(state, s, raw, estimate, mean, nu, z, mean + expand(nu, z) * z, part.total)


@dataclass
class _Batch:
    """Everything that changes during a run, in one place."""

    observation: Observation
    noise: Noise
    x: Tensor
    t: Tensor
    x0: Tensor
    output: Tensor
    done: Tensor

    def live(self, s: Tensor) -> Tensor:
        """Indices of the images that step to a new time."""
        return ((self.t != s) & ~self.done).nonzero().flatten()

    @property
    def under_way(self) -> bool:
        """Whether any image has steps left."""
        return bool(((self.t > 0) & ~self.done).any())

    def part(self, live: Tensor, index: int, total: int) -> Part:
        if len(live) == len(self.x):
            return Part(State(self.x, self.t, index), self.x0, self.observation, self.noise, total)
        state = State(self.x[live], self.t[live], index)
        return Part(state, self.x0[live], self.observation.select(live), self.noise.select(live), total)

    def put(self, live: Tensor, step: Step, output: Tensor) -> None:
        if len(live) == len(self.x):
            self.x, self.x0, self.output, self.t = step.x_s, step.raw.x0, output, step.s
            return
        self.x = self.x.index_copy(0, live.to(self.x.device), step.x_s)
        self.x0 = self.x0.index_copy(0, live.to(self.x.device), step.raw.x0)
        self.output = self.output.index_copy(0, live.to(self.x.device), output)
        self.t = self.t.index_copy(0, live, step.s)

    def cut(self, live: Tensor, step: Step) -> None:
        """Ends early: the estimates reached so far become the output of every image that is still on its way."""
        waiting = ((self.t > 0) & ~self.done).to(self.x.device).reshape(-1, *(1,) * (self.x.ndim - 1))
        self.output = torch.where(waiting, self.x0, self.output)
        self.put(live, step, step.reached)


def _begin(problem: Problem, prior: Prior, method: Method, seeds: int | Iterable[int] | Noise) -> _Batch:
    noise = seeds if isinstance(seeds, Noise) else SeededNoise.of(seeds, len(problem.y))
    observation = prior.codec.observe(problem)
    top = torch.full((len(problem.y),), method.grid.top(prior.process), dtype=torch.float64)
    state = method.start(observation, prior, noise, top)
    done = torch.zeros(len(state.x), dtype=torch.bool)
    return _Batch(observation, noise, state.x, state.t, state.x, state.x, done)
