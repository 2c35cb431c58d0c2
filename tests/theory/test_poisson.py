"""Poisson noise: the variance of every entry, and guidance that weighs by it."""

from __future__ import annotations

import torch

from pellucid.consistency.guidance import squared_error_gradient
from pellucid.loop import reconstruct
from pellucid.methods import dps
from pellucid.operators import Mask
from pellucid.prior.base import State
from pellucid.prior.gaussian import GaussianPrior
from pellucid.problem import Problem

SHAPE = (3, 16, 16)


def test_the_variance_is_gain_times_the_mean_plus_the_read_noise() -> None:
    torch.manual_seed(0)
    x, gain, read = torch.full((1, 1, 200, 200), 0.4, dtype=torch.float64), 0.01, 0.03
    y = torch.poisson(x / gain) * gain + read * torch.randn_like(x)
    problem = Problem(x, Mask((1, 200, 200), torch.ones(200, 200)), read, gain)
    assert abs(float(y.var() / problem.variance.mean()) - 1) < 0.02


def test_units_follow_the_codec() -> None:
    problem = Problem(torch.rand(2, *SHAPE, dtype=torch.float64), Mask.random(SHAPE), torch.tensor([0.0, 0.1]), 0.02)
    observation = GaussianPrior.natural(16).codec.observe(problem)
    assert torch.allclose(observation.variance, 4 * problem.variance)
    assert torch.allclose(observation.noise_std, 2 * problem.std)


def test_entries_are_weighed_by_their_precision() -> None:
    prior = GaussianPrior.natural(16)
    problem = Problem(torch.rand(2, *SHAPE, dtype=torch.float64), Mask.random(SHAPE, missing=0.3), 0.02, 0.05)
    observation = prior.codec.observe(problem)
    state = State(torch.randn(2, *SHAPE, dtype=torch.float64), torch.tensor([200.0, 500.0], dtype=torch.float64))
    size, level, gradient = squared_error_gradient(prior.estimate(state, differentiable=True), observation)
    x = state.x.clone().requires_grad_()
    r = observation.y - observation.operator(prior._denoise(x, state.t)[0])
    assert observation.gain is not None and observation.black is not None
    mean = (observation.y - r).detach()
    weight = 1 / (0.04**2 + 0.1 * torch.maximum(mean - observation.black, torch.tensor(0.1)))
    assert torch.allclose(level, 1 / weight.flatten(1).mean(1))
    weight = weight * level[:, None, None, None]
    loss = (weight * r.square()).flatten(1).sum(1)
    assert torch.allclose(size, loss.detach(), rtol=1e-6)
    assert torch.allclose(gradient, torch.autograd.grad(loss.sum(), x)[0], atol=1e-6)


def test_knowing_that_noise_is_poisson_helps() -> None:
    prior = GaussianPrior.natural(16)
    generator = torch.Generator().manual_seed(1)
    truth = prior.codec.decode(prior.color(torch.randn(1, *SHAPE, generator=generator, dtype=torch.float64))).clamp(
        0.01
    )
    operator, gain = Mask(SHAPE, torch.ones(16, 16)), 0.08
    y = torch.poisson(truth / gain, generator=generator) * gain

    def error(noise_std: float, gain: float) -> float:
        many = y.expand(16, *SHAPE).contiguous()
        image = reconstruct(Problem(many, operator, noise_std, gain), prior, dps(100)).image
        return float((image.mean(0) - truth).square().mean())

    assert error(0.0, gain) < error(0.02, 0.0)  # against a guess that the noise is slight and the same everywhere
    assert error(0.0, gain) < float((y - truth).square().mean())
