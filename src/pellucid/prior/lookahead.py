"""A prior that looks ahead: it walks on for some steps before it says what x_0 is."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pellucid.account import only
from pellucid.prior.base import Estimate, Prior, State
from pellucid.process import Process
from pellucid.transition import DDIM
from pellucid.typing import expand


class LookAhead(Prior):
    """E[x_0 | x_t'] for the x_t' that deterministic steps (DDIM, eta = 0) lead to from x_t, in place of E[x_0 | x_t].

    ReSample's time travel (Song et al., ICLR 2024, appendix): the estimate that is made consistent comes from a few
    steps further down, where it is sharper; the walk itself is thrown away.

    Every look costs a network call more a step, which the wrapped prior counts. There is no gradient through the walk.

    Args:
        prior: the prior that is asked on the way.
        steps: how many steps further; 0 is the prior itself.
        pitch: length of a step as a share of the process's pace, (b,) or a number; below the last one it ends.
    """

    def __init__(self, prior: Prior, steps: int, pitch: Tensor | float) -> None:
        self.prior, self.steps, self.pitch = prior, steps, pitch
        self.process, self.codec = prior.process, prior.codec

    def check(self, image_shape: tuple[int, ...]) -> None:
        self.prior.check(image_shape)

    def _denoise(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.estimate(State(x, t)).x0, None

    def estimate(self, state: State, *, differentiable: bool = False) -> Estimate:
        """Of the state that the walk ends in; eps is the noise that goes with it at x_t."""
        if differentiable or not self.steps:
            return self.prior.estimate(state, differentiable=differentiable)
        here = state
        estimate = self.prior.estimate(here)
        for _ in range(self.steps):
            s = further(self.process, here.t, self.pitch)
            moving = (s < here.t).nonzero().flatten()
            if not len(moving):
                break
            whole = len(moving) == len(s)
            part = here if whole else here.select(moving)
            seen = estimate if whole else Estimate(estimate.x0[moving], estimate.eps[moving])
            k, _ = DDIM(0.0).weights(self.process, part.t, s[moving], seen)
            x = self.process.mean(seen.x0, s[moving]) + expand(k, seen.eps) * seen.eps
            with only(moving):
                ahead = self.prior.estimate(State(x, s[moving], part.index, part.images))
            here = State(_put(here.x, moving, x), _put(here.t, moving, s[moving]), here.index, here.images)
            estimate = Estimate(_put(estimate.x0, moving, ahead.x0), _put(estimate.eps, moving, ahead.eps))
        return replace(estimate, eps=self.process.eps(state.x, estimate.x0, state.t))


def further(process: Process, t: Tensor, pitch: Tensor | float) -> Tensor:
    """The time one pitch below t, (b,); t itself where the next would be 0, at which no prior is asked."""
    s = process.on_grid(process.at_pace((process.pace(t) - pitch).clamp(min=0)))
    return torch.where(s > 0, torch.minimum(s, t), t)


def _put(whole: Tensor, index: Tensor, part: Tensor) -> Tensor:
    return whole.index_copy(0, index.to(whole.device), part)
