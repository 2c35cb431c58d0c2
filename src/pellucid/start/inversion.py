"""SSD's start: an initial estimate carried up by distortion-adaptive inversion, step by step through the prior."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from pellucid.account import only
from pellucid.errors import require_range
from pellucid.grid import Grid
from pellucid.noise import Noise
from pellucid.prior.base import Clip, Prior, State
from pellucid.problem import Observation
from pellucid.start.base import Start
from pellucid.transition import Inversion
from pellucid.typing import expand


@dataclass(frozen=True)
class Ascend(Start):
    """From the estimate, taken as the state at the grid's lowest time above 0, up to t0.

    x_s = alpha_s x0 + sqrt(sigma_s^2 - eta beta_s) eps + sqrt(eta beta_s) z, s > t.
    Liu et al., Accelerating Diffusion Models for Inverse Problems through Shortcut Sampling, IJCAI 2024, eq. (11).

    Args:
        initial: a start whose state is the estimate, as a rule A^+ y.
        grid: n points give n - 1 network calls.
        t0: as a share of the process's largest time.
        eta: 0 is DDIM inversion, faithful and unrealistic; 1 is the forward process.
        clip: clip x0 to the prior's bounds, eps kept, as the released code does.
    """

    initial: Start
    grid: Grid
    t0: float
    eta: float = 0.4
    clip: Clip = "keep"

    def __post_init__(self) -> None:
        require_range("t0", self.t0, 0, 1, above=True)
        require_range("eta", self.eta, 0, 1)
        object.__setattr__(self, "needs", self.initial.needs)

    def __call__(self, observation: Observation, prior: Prior, noise: Noise, top: Tensor) -> State:
        process, rule = prior.process, Inversion(self.eta)
        t0 = process.on_grid(torch.full_like(top, self.t0 * process.t_max))
        times = self.grid.times(process, t0)[:-1].flip(0)
        x = self.initial(observation, prior, noise, top).x
        return State(climbed(x, times, prior, noise, rule, self.clip), t0)


def climbed(x: Tensor, times: Tensor, prior: Prior, noise: Noise, rule: Inversion, clip: Clip = "no") -> Tensor:
    """x carried up along `times` (points, b), rising; an image whose next time is the same waits and calls nothing."""
    for index, (t, s) in enumerate(pairwise(times)):
        live = (t != s).nonzero().flatten()
        if not len(live):
            continue
        with only(live):
            moved = _ascended(x[live], t[live], s[live], index, prior, noise.select(live), rule, clip)
        x = moved if len(live) == len(x) else x.index_copy(0, live.to(x.device), moved)
    return x


def _ascended(
    x: Tensor, t: Tensor, s: Tensor, index: int, prior: Prior, noise: Noise, rule: Inversion, clip: Clip
) -> Tensor:
    """One step up, from x_t to x_s."""
    process, state = prior.process, State(x, t, index)
    estimate = prior.estimate(state)
    if clip != "no" and prior.codec.bounds is not None:
        estimate = estimate.clipped(prior.codec.bounds, state, process, clip)
    k, nu = rule.weights(process, t, s, estimate)
    z = noise.normal(x, index, "ascend")
    return process.mean(estimate.x0, s) + expand(k, x) * estimate.eps + expand(nu, x) * z
