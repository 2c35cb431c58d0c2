"""Regularisation by denoising diffusion: one estimate, optimised. Its answer is a start at time 0."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pellucid.consistency.pictures import believed_noise, network_units, on_pictures
from pellucid.consistency.proximal import reading_scale
from pellucid.errors import CompatibilityError, require_range
from pellucid.grid import Grid
from pellucid.noise import Noise
from pellucid.operators.base import LinearOperator
from pellucid.prior.base import Prior, State
from pellucid.problem import Observation
from pellucid.start.base import Start
from pellucid.typing import expand

Weight = Literal["score", "paper"]


@dataclass(frozen=True)
class VariationalMode(Start):
    """RED-diff: min_mu |y - A(mu)|^2 / (2 sigma_y^2) + sum_t w_t <eps_theta(x_t) - n, mu>, x_t = M_t(mu) + sigma_t n.

    Mardani et al., A Variational Perspective on Solving Inverse Problems with Diffusion Models, ICLR 2024, Algorithm 1:
    one step of Adam for every time of the grid, eps_theta - n being a constant. mu starts at the code of mid-grey:
    at A^+ y, where the misfit's gradient is 0, Adam's first moves would be rounding blown up. Weights, with S = sigma_t
    / alpha_t:

        "score"  weight / max(S, sigma_y)      on average, S^-1 (eps_theta - n) is minus the score of data noised to S
        "paper"  weight S                      0.25 there

    The first makes the sum's gradient the posterior's, smoothed to the level of y's own noise at the end; under the
    second the prior fades away with S. Adam's moments are those of every entry, so that an image is as if alone.

    Args:
        grid: the times, falling; one network call each.
        weight: see above.
        rule: see above.
        learning_rate: of Adam, in the prior's units.
        decay: let it fall to 0 along a half cosine; with a constant one mu keeps jumping by as much.
        floor: smallest sigma_y that is believed, in [0, 1] units, for a sinogram in pixel lengths.
        adam_eps: what Adam adds to the root of the second moment, in units of 1 / sigma_y, the size of the misfit's
            gradient where y is met to within its noise: entries whose gradient is nothing but rounding then stay where
            they are. None for 1e-8, Adam's default, in the gradient's units.
        memory: decay of Adam's second moment; 0.999 is its default, which remembers the steep beginning for too long.
    """

    grid: Grid
    weight: float = 1.0
    rule: Weight = "score"
    learning_rate: float = 0.1
    decay: bool = True
    floor: float = 0.005
    adam_eps: float | None = 1e-3
    memory: float = 0.99

    def __post_init__(self) -> None:
        if self.rule not in ("score", "paper"):
            raise CompatibilityError(f"rule must be score or paper, not {self.rule!r}")
        require_range("weight", self.weight, 0)
        require_range("learning_rate", self.learning_rate, 0, above=True)
        require_range("floor", self.floor, 0, above=True)
        if self.adam_eps is not None:
            require_range("adam_eps", self.adam_eps, 0, above=True)
        require_range("memory", self.memory, 0, 0.9999)

    def __call__(self, observation: Observation, prior: Prior, noise: Noise, top: Tensor) -> State:
        process = prior.process
        level, units = believed_noise(observation, prior.codec, self.floor)
        lowest = level * network_units(prior.codec) / units
        mu = self.first(observation, prior)
        length, _ = reading_scale(on_pictures(observation).operator)
        added = torch.full_like(level, 1e-8) if self.adam_eps is None else self.adam_eps * length / level
        adam, times = Adam(mu, added, second=self.memory), self.grid.times(process, top)[:-1]
        for index, t in enumerate(times):
            n = noise.normal(mu, index, "step")
            state = State(process.diffuse(mu, t, n), t, index)
            estimate = prior.estimate(state)
            if prior.codec.bounds is not None:
                estimate = estimate.clipped(prior.codec.bounds, state, process, "recompute")
            ratio = process.ratio(t)
            w = self.weight * (ratio if self.rule == "paper" else 1 / torch.maximum(ratio, lowest))
            gradient = _misfit_gradient(observation, mu) / expand(level**2, mu) + expand(w, mu) * (estimate.eps - n)
            rate = self.learning_rate * (0.5 + 0.5 * math.cos(math.pi * index / len(times)) if self.decay else 1)
            mu = mu - rate * adam.direction(gradient)
        return State(mu, torch.zeros_like(top))

    def first(self, observation: Observation, prior: Prior) -> Tensor:
        """The code of a mid-grey picture."""
        problem = on_pictures(observation).problem
        assert problem is not None
        shape = (len(problem.y), *problem.operator.image_shape)
        return prior.codec.encode(torch.full(shape, 0.5, dtype=problem.y.dtype, device=problem.y.device))


class Adam:
    """The direction of Adam (Kingma and Ba, ICLR 2015, Algorithm 1), entry by entry: no entry knows of another's image.

    Args:
        like: what is optimised.
        eps: added to the root of the second moment, (b,).
        first, second: decay of the moments.
    """

    def __init__(self, like: Tensor, eps: Tensor, first: float = 0.9, second: float = 0.999) -> None:
        self.eps, self.first, self.second, self.count = expand(eps, like), first, second, 0
        self.mean, self.square = torch.zeros_like(like), torch.zeros_like(like)

    def direction(self, gradient: Tensor) -> Tensor:
        """m / (sqrt(v) + eps), both corrected for their start at 0."""
        self.count += 1
        self.mean = self.first * self.mean + (1 - self.first) * gradient
        self.square = self.second * self.square + (1 - self.second) * gradient**2
        m = self.mean / (1 - self.first**self.count)
        v = self.square / (1 - self.second**self.count)
        return m / (v.sqrt() + self.eps)


def _misfit_gradient(observation: Observation, mu: Tensor) -> Tensor:
    """The gradient of |y - A(mu)|^2 / 2."""
    operator = observation.operator
    if isinstance(operator, LinearOperator):
        return -operator.adjoint(observation.residual(mu))
    with torch.enable_grad():
        mu = mu.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(observation.residual(mu).square().sum() / 2, mu)
    return gradient
