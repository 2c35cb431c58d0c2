"""The loop that every method runs in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.account import Cost, counting
from pellucid.engine import Underway
from pellucid.method import Method
from pellucid.noise import Noise, SeededNoise
from pellucid.prior.base import Prior
from pellucid.problem import Problem
from pellucid.step import Step

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
        started_at: the time that every image began at, (b,): its own where the start tells one, as by severity.
        adaptation: what adapting the prior took, which is in none of the counts above: one for all images, or one an
            image; empty where the prior is as it was.
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
    started_at: Tensor | None = None
    adaptation: tuple[Cost, ...] = ()


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
        for live in batch.in_turn():
            account.live = live
            step = batch.step(live, prior, method)
            if trace:
                steps.append(step.without_graph())
            if callback is not None and callback(step) and not batch.over.all():
                batch.reach(live, step)
                batch.cut()
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
        batch.times[0],
        prior.costs,
    )


def _begin(problem: Problem, prior: Prior, method: Method, seeds: int | Iterable[int] | Noise) -> Underway:
    images = torch.arange(len(problem.y))
    noise = seeds if isinstance(seeds, Noise) else SeededNoise.of(seeds, len(images))
    observation = prior.codec.observe(problem)
    sources = [(observation, i) for i in range(len(images))]
    return Underway.begin(sources, noise, prior, method, images, images)
