"""ADIR's guidance on exact Gaussian priors: draws as far from the truth as draws of the exact posterior are."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from pellucid import methods
from pellucid.consistency.surrogate import SurrogateGuidance
from pellucid.consistency.when import During
from pellucid.errors import CompatibilityError, NeedsCapability
from pellucid.loop import reconstruct
from pellucid.method import Method
from pellucid.operators import parse
from pellucid.prior.gaussian import GaussianPrior
from pellucid.problem import Problem
from pellucid.transition import DDIM
from pellucid.verify.oracle import posterior

SIDE, COUNT = 16, 96
CASES = {
    "identity": 0.1,
    "mask:box=8": 0.05,
    "mask:random=0.7": 0.05,
    "gaussian-blur:std=1.2": 0.05,
    "uniform-blur:size=5": 10 / 255,
    "bicubic:factor=4": 0.01,
    "bicubic:factor=2": 0.0,
}


def prior() -> GaussianPrior:
    """A 1 / f^2 spectrum of unit range."""
    f = torch.fft.fftfreq(SIDE, dtype=torch.float64) * SIDE
    spectrum = 1 / (1 + f[:, None] ** 2 + f**2)
    return GaussianPrior((spectrum / spectrum.mean() / 4)[None])


def gap(method: Method, text: str) -> float:
    """PSNR of the method's draws minus that of exact posterior draws, in dB; one draw for each of 96 pictures."""
    exact_prior, operator, std = prior(), parse(text).build((1, SIDE, SIDE)), CASES[text]
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(COUNT, *shape, generator=generator, dtype=torch.float64)

    truth = exact_prior.codec.decode(exact_prior.color(draw(1, SIDE, SIDE)))
    y = operator(truth)
    problem = Problem(y + std * draw(*y.shape[1:]), operator, std)
    exact = posterior(exact_prior, problem.select(torch.tensor([0])))
    # A draw of the posterior and the truth are independent draws of it: their distance is twice its variance.
    wanted = 2 * float((exact.std**2).mean()) / 4
    found = float((reconstruct(problem, exact_prior, method).image - truth).square().mean())
    return 10 * math.log10(wanted / found)


@pytest.mark.parametrize("text", CASES)
def test_it_draws_as_well_as_the_exact_posterior(text: str) -> None:
    assert abs(gap(methods.adir(nfe=200), text)) < 0.35


def test_the_paper_scale_hardly_guides() -> None:
    for text in ("identity", "uniform-blur:size=5", "bicubic:factor=4"):
        assert gap(methods.adir(nfe=200, rule="paper", carried="paper"), text) < -1.5


def test_the_likelihood_own_scale_diverges() -> None:
    sigma = 2 * CASES["uniform-blur:size=5"]
    assert gap(methods.adir(nfe=200, rule="paper", scale=1 / (2 * sigma**2)), "uniform-blur:size=5") < -20


def test_what_the_mean_carries_holds_on_coarse_grids() -> None:
    """sqrt(1 - abar_s) eps is more than the mean of a coarse step carries, and the difference is taken for data."""
    coarse, paper = (gap(methods.adir(nfe=50, carried=kind), "identity") for kind in ("mean", "paper"))
    assert abs(coarse) < 0.4 and paper < -1
    fine = [gap(methods.adir(nfe=500, carried=kind), "identity") for kind in ("mean", "paper")]
    assert abs(fine[0] - fine[1]) < 0.15


def test_taking_x_t_for_x_0_is_no_posterior() -> None:
    """Its draws are too near to the mean: half a posterior."""
    assert gap(methods.adir(nfe=200, form="naive"), "identity") > 0.8


def test_the_gradient_through_an_exact_prior_is_stable() -> None:
    """What eq. (14) lacks beside (16) on networks, it does not lack on an exact prior."""
    for text in ("identity", "bicubic:factor=4"):
        assert abs(gap(methods.adir(nfe=200, form="autograd"), text)) < 0.5


def test_the_first_two_forms_take_no_gradient() -> None:
    operator = parse("bicubic:factor=4").build((1, SIDE, SIDE))
    problem = Problem(torch.rand(2, 1, 4, 4, dtype=torch.float64), operator, 0.0)
    costs = {
        form: reconstruct(problem, prior(), methods.adir(nfe=7, form=form))
        for form in ("surrogate", "naive", "autograd")
    }
    assert {form: (result.nfe.tolist(), result.vjp.tolist()) for form, result in costs.items()} == {
        "surrogate": ([7, 7], [0, 0]),
        "naive": ([7, 7], [0, 0]),
        "autograd": ([7, 7], [7, 7]),
    }


def test_a_noiseless_measurement_is_met() -> None:
    operator = parse("mask:random=0.5").build((1, SIDE, SIDE))
    problem = Problem(operator(torch.rand(2, 1, SIDE, SIDE, dtype=torch.float64)), operator, 0.0)
    result = reconstruct(problem, prior(), methods.adir(nfe=5))
    assert float((operator(result.image) - problem.y).abs().max()) < 1e-10


def test_steps_without_noise_are_refused_by_name() -> None:
    with pytest.raises(CompatibilityError, match="eta above 0"):
        methods.adir(eta=0.0)
    for guidance in (SurrogateGuidance(), During(SurrogateGuidance())):
        with pytest.raises(CompatibilityError, match="eta above 0"):
            replace(methods.unconditional(eta=0.0), consistency=guidance)
        assert replace(methods.unconditional(eta=0.3), consistency=guidance).transition == DDIM(0.3)


def test_an_operator_that_is_not_linear_is_refused_by_name() -> None:
    operator = parse("phase-retrieval").build((1, SIDE, SIDE))
    y = operator(torch.rand(1, 1, SIDE, SIDE, dtype=torch.float64))
    with pytest.raises(NeedsCapability, match="adir needs a linear operator"):
        reconstruct(Problem(y, operator, 0.0), prior(), methods.adir())


def test_an_operator_that_measures_nothing_leaves_a_draw_of_the_prior() -> None:
    operator = parse("mask:random=1.0").build((1, SIDE, SIDE))
    for std in (0.0, 0.1):
        problem = Problem(torch.zeros(1, 1, SIDE, SIDE, dtype=torch.float64), operator, std)
        assert bool(torch.isfinite(reconstruct(problem, prior(), methods.adir(nfe=3)).image).all())
