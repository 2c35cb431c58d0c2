"""Decoupled annealing: x0 is drawn given x_t and y by Langevin dynamics, and noised again to time s."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.consistency.base import Consistency
from pellucid.consistency.pictures import believed_noise, squared_norm
from pellucid.consistency.proximal import error_variance
from pellucid.errors import require_range
from pellucid.noise import Noise
from pellucid.operators.base import LinearOperator
from pellucid.prior.base import Estimate, Prior, State
from pellucid.problem import Observation
from pellucid.process import Process
from pellucid.step import Step
from pellucid.typing import dot, expand, norm

Draw = Callable[[Tensor, int], Tensor]
"""(like, j) -> standard normal noise for step j."""

Potential = Callable[[Tensor], tuple[Tensor, Tensor]]
"""x -> (U(x), grad U(x)), (b,) and (b, ...)."""


@dataclass(frozen=True)
class Langevin(Consistency):
    """DAPS: x_s = alpha_s x + sigma_s n with x ~ exp(-U), U = |y - A(x)|^2 / (2 sigma_y^2) + |x - x0hat|^2 / (2 r^2).

    Zhang et al., Improving Diffusion Inverse Problem Solving with Decoupled Noise Annealing, CVPR 2025, Algorithm 1.
    x0hat is where the probability-flow ODE leads from x_t in `ode_steps` Euler steps (1: E[x_0 | x_t] itself); then

        x <- x - eta grad U + sqrt(2 eta) n,     `steps` times from x0hat,     eta = `step_size` / L.

    L bounds the curvature of U, so that no step_size below 2 diverges: |A|^2 / sigma_y^2 + 1 / r^2 for a linear A.
    For others, and behind an autoencoder, L is the secant curvature that three power iterations find around x0hat, and
    a step after which U is above both its first value and twice its mean under a Gaussian, n + m for n unknowns and m
    measurements, is not taken but halves eta: U stays bounded whatever A does. All of it is image by image.

    r^2 is the variance of x_0 around x0hat: S^2, S = sigma_t / alpha_t, in the paper; with data of variance v it is
    S^2 v / (S^2 + v), which `data_std` brings in.

    Args:
        steps: of Langevin dynamics, each with a gradient through A.
        ode_steps: network calls for x0hat.
        step_size: see above; small ones are slow, large ones blur what y fixes by a factor 1 / (1 - step_size / 2).
        data_std: sqrt(v) in the prior's units, or None.
        floor: smallest sigma_y that is believed, in [0, 1] units, for a sinogram in pixel lengths; without noise U
            would have no scale.
    """

    steps: int = 30
    ode_steps: int = 1
    step_size: float = 0.5
    data_std: float | None = 0.5
    floor: float = 0.005

    def __post_init__(self) -> None:
        require_range("langevin_steps", self.steps, 1)
        require_range("ode_steps", self.ode_steps, 1)
        require_range("step_size", self.step_size, 0, 1.9, above=True)
        require_range("floor", self.floor, 0, above=True)
        if self.data_std is not None:
            require_range("data_std", self.data_std, 0, above=True)

    def gradients(self, steps: int) -> int:
        # Every level takes one where it begins and three for the curvature.
        return steps // self.ode_steps * (self.steps + 4)

    def correct(self, step: Step, observation: Observation, prior: Prior, noise: Noise) -> Tensor:
        x0hat = flow(step.state, step.estimate, prior, self.ode_steps)
        r2 = error_variance(prior, step.state.t, self.data_std)
        sigma, _ = believed_noise(observation, prior.codec, self.floor)
        at = step.state.index
        x = self.sample(x0hat, r2, sigma**2, observation, lambda x, j: noise.normal(x, at, f"langevin {j}"))
        return prior.process.diffuse(x, step.s, step.z)

    def sample(self, x0hat: Tensor, r2: Tensor, sigma2: Tensor, observation: Observation, draw: Draw) -> Tensor:
        """x ~ exp(-U), from x0hat on; r2 and sigma2 are (b,)."""
        if isinstance(observation.operator, LinearOperator):
            return self._linear(observation.operator, x0hat, r2, sigma2, observation, draw)
        potential = _potential(observation, x0hat, r2, sigma2)
        first, gradient = potential(x0hat)
        allowed = first.clamp(min=x0hat[0].numel() + observation.y[0].numel())
        curvature = secant_curvature(potential, x0hat, gradient, r2) + (1 / r2).to(first)
        eta, x = self.step_size / curvature, x0hat
        for j in range(self.steps):
            size = expand(eta, x)
            moved = x - size * gradient + (2 * size).sqrt() * draw(x, j)
            value, slope = potential(moved)
            taken = value <= allowed  # False for NaN as well
            keep = expand(taken.to(x.dtype), x) > 0
            x, gradient = torch.where(keep, moved, x), torch.where(keep, slope, gradient)
            eta = torch.where(taken, eta, eta / 2)
        return x

    def _linear(
        self, operator: LinearOperator, x0hat: Tensor, r2: Tensor, sigma2: Tensor, observation: Observation, draw: Draw
    ) -> Tensor:
        curvature = squared_norm(observation, operator).double().cpu() / sigma2 + 1 / r2
        eta, x = expand(self.step_size / curvature, x0hat), x0hat
        for j in range(self.steps):
            pull = operator.adjoint(observation.residual(x)) / expand(sigma2, x) - (x - x0hat) / expand(r2, x)
            x = x + eta * pull + (2 * eta).sqrt() * draw(x, j)
        return x


def flow(state: State, estimate: Estimate, prior: Prior, steps: int, lowest: float = 0.01) -> Tensor:
    """x0hat: Euler steps of dx = -(sigma_t / alpha_t)' eps dt from x_t, `estimate` being the first network call.

    The levels sigma / alpha fall from that of t to `lowest` evenly in their 7th roots (Karras et al., 2022, eq. 5); the
    last estimate is the answer. Estimates are held to the prior's bounds, if it has any.
    """
    process, x, t = prior.process, state.x, state.t
    first = process.ratio(t) ** (1 / 7)
    for k in range(1, steps):
        level = (first + k / steps * (torch.clamp(first, max=lowest ** (1 / 7)) - first)) ** 7
        s = _above_zero(process, torch.minimum(process.on_grid(process.time_at_ratio(level)), t))
        x = process.mean(estimate.x0, s) + expand(process.sigma(s), x) * estimate.eps
        state, t = State(x, s, state.index, state.images), s
        estimate = prior.estimate(state)
        if prior.codec.bounds is not None:
            estimate = estimate.clipped(prior.codec.bounds, state, process, "recompute")
    return estimate.x0


def secant_curvature(
    potential: Potential, x: Tensor, gradient: Tensor, r2: Tensor, iterations: int = 3, reach: float = 0.1
) -> Tensor:
    """The largest curvature of U that power iterations on gradient differences over `reach` r sqrt(n) find, (b,)."""
    direction, found = gradient, torch.zeros(len(x), dtype=x.dtype, device=x.device)
    length = reach * expand(r2.sqrt(), x) * x[0].numel() ** 0.5
    for _ in range(iterations):
        unit = direction / expand(norm(direction).clamp(min=torch.finfo(x.dtype).tiny), x)
        # Over a finite length, a step's own: where U is rough, what counts is how it is on that scale.
        direction = (potential(x + length * unit)[1] - gradient) / length
        found = torch.maximum(found, norm(direction))
    return found


def _potential(observation: Observation, x0hat: Tensor, r2: Tensor, sigma2: Tensor) -> Potential:
    def potential(x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            misfit = observation.residual(x).square().flatten(1).sum(1) / (2 * expand(sigma2, x).flatten())
            value = misfit + dot(x - x0hat, x - x0hat) / (2 * expand(r2, x).flatten())
            (gradient,) = torch.autograd.grad(value.sum(), x)
        return value.detach(), gradient

    return potential


def _above_zero(process: Process, t: Tensor) -> Tensor:
    return t.clamp(min=1) if process.discrete else t
