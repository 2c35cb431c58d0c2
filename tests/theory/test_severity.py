"""The start from a predicted severity, against exact Gaussian posteriors."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pellucid.errors import CompatibilityError
from pellucid.grid import Below, Inclusive, LatentDiffusion, Leading, TimeTravel, Uniform
from pellucid.loop import reconstruct
from pellucid.methods import flash, get
from pellucid.methods.flash import inner_method
from pellucid.noise import SeededNoise
from pellucid.operators.diagonal import Identity
from pellucid.prior.base import Prior
from pellucid.prior.gaussian import GaussianPrior
from pellucid.problem import Observation, Problem
from pellucid.process import VE, DiscreteVP, Flow, Process
from pellucid.start.severity import Rule, Severity
from tests.latent import latent_oracle

SHAPE = (3, 8, 8)
FINE = DiscreteVP.scaled_linear(5000, 0.0015 / 5, 0.0195 / 5)
PROCESSES = {"vp": DiscreteVP.scaled_linear(), "fine": FINE, "cosine": DiscreteVP.cosine(), "ve": VE(), "flow": Flow()}


@dataclass(frozen=True)
class White:
    """z_hat = z_0 + sqrt(s2) e with white e, which it knows the variance of: the measurement itself tells z_hat."""

    s2: tuple[float, ...]

    def __call__(self, observation: Observation, prior: Prior) -> tuple[Tensor, Tensor]:
        return observation.y, torch.tensor(self.s2, dtype=torch.float64)


def white_prior(process: Process) -> GaussianPrior:
    """Independent pixels of variance 1, as latents have."""
    return GaussianPrior(torch.ones(SHAPE, dtype=torch.float64), process=process)


def natural_prior(process: Process) -> GaussianPrior:
    """The spectrum of photographs."""
    natural = GaussianPrior.natural(SHAPE[-1], SHAPE[0])
    return GaussianPrior(natural.spectrum, natural.mean, process=process)


@pytest.mark.parametrize("name", PROCESSES)
def test_the_start_has_the_snr_of_the_estimate(name: str) -> None:
    process = PROCESSES[name]
    s2 = torch.tensor([0.01, 0.05, 0.4, 2.0], dtype=torch.float64)
    t = Severity(White(())).time(process, s2)
    assert torch.allclose(process.snr(t), 1 / s2, rtol=0.1 if process.discrete else 1e-10)
    assert (t.diff() > 0).all()
    assert Severity(White(())).time(process, torch.zeros(1)).item() == 0
    assert Severity(White(()), share=0.0).time(process, s2).eq(0).all()
    half = Severity(White(()), share=0.5).time(process, s2)
    assert torch.allclose(process.pace(half), process.pace(t) / 2, atol=1e-3)


def white_problem(prior: GaussianPrior, s2: float, count: int, seed: int = 0) -> tuple[Problem, Tensor]:
    """Estimates z_hat with white errors of variance s2 in the prior's space, written as pictures in [0, 1]; and z_0."""
    generator = torch.Generator().manual_seed(seed)
    draw = [torch.randn(count, *SHAPE, dtype=torch.float64, generator=generator) for _ in range(2)]
    truth = prior.color(draw[0])
    return Problem((truth + s2**0.5 * draw[1] + 1) / 2, Identity(SHAPE)), truth


def sample_error(prior: GaussianPrior, rule: Rule, c: float = 1.2, s2: float = 0.1, count: int = 128) -> float:
    """Mean squared error of flash's samples over that of as many exact posterior samples, 2 tr C_post / d."""
    problem, truth = white_problem(prior, s2, count)
    method = flash("none", White((s2,) * count), int(prior.process.t_max) if prior.process.discrete else 1000, rule, c)
    found = 2 * reconstruct(problem, prior, method).image - 1
    post = (prior.spectrum * s2 / (prior.spectrum + s2)).mean()
    return float((found - truth).square().mean() / (2 * post))


@pytest.mark.parametrize("name", ["fine", "ve", "flow"])
def test_exact_start_draws_from_the_posterior_of_a_white_error(name: str) -> None:
    assert abs(sample_error(natural_prior(PROCESSES[name]), "exact") - 1) < 0.03
    assert abs(sample_error(white_prior(PROCESSES[name]), "exact") - 1) < 0.03


@pytest.mark.parametrize("c", [0.5, 1.0, 1.2])
def test_the_papers_correction_overnoises_a_white_error(c: float) -> None:
    """For data of variance 1: E|a z - z_0|^2 + s2 / (1 + s2), z = k (z_0 + e) + sqrt(c s2) n, k^2 = 1 - c s2."""
    s2, prior = 0.1, white_prior(FINE)
    a, k, post = (1 + s2) ** -0.5, (1 - c * s2) ** 0.5, s2 / (1 + s2)
    wanted = ((a * k - 1) ** 2 + a**2 * (k**2 + c) * s2 + post) / (2 * post)
    assert abs(sample_error(prior, "paper", c, s2) / wanted - 1) < 0.03
    assert wanted > 1.2


def test_inversion_keeps_the_estimate() -> None:
    """DDIM inversion and DDIM back, both deterministic, on a fine grid: what came out is what went in."""
    prior = natural_prior(FINE)
    problem, _ = white_problem(prior, 0.1, 4)
    method = flash(get("unconditional").build(5000), White((0.1, 0.2, 0.05, 0.0)), 5000, "inversion")
    found = reconstruct(problem, prior, method)
    assert float((found.image - problem.y).abs().max()) < 0.01
    assert found.nfe[3] == 0
    assert found.nfe[2] < found.nfe[0] < found.nfe[1]


def test_each_image_takes_its_own_steps() -> None:
    prior = GaussianPrior.natural(8, 3)
    s2 = (0.0, 0.003, 0.3, 5.0)
    problem, _ = white_problem(prior, 0.1, 4)
    for nfe in (1000, 37):
        method = flash("none", White(s2), nfe)
        together = reconstruct(problem, prior, method, seeds=[5, 6, 7, 8])
        points = Below(method.grid).points(prior.process)
        start = Severity(White(())).time(prior.process, torch.tensor(s2, dtype=torch.float64))
        begun = [int((points[(points > 0)] < t).sum()) + (t > 0) for t in start]
        assert together.nfe.tolist() == [int(n) for n in begun]
        assert together.started_at is not None and torch.equal(together.started_at, start)
        for k in range(4):
            one = torch.tensor([k])
            alone = reconstruct(problem.select(one), prior, flash("none", White((s2[k],)), nfe), seeds=[5 + k])
            assert torch.allclose(alone.image[0], together.image[k], atol=1e-10, rtol=0)
            assert alone.nfe[0] == together.nfe[k]


@pytest.mark.parametrize(
    "grid",
    [
        Uniform(40),
        Uniform(7, power=2.0),
        Inclusive(20),
        Leading(25),
        LatentDiffusion(50),
        TimeTravel(Uniform(40), 3, 2),
    ],
)
@settings(max_examples=20, deadline=None)
@given(start=st.lists(st.floats(0, 1000), min_size=1, max_size=4))
def test_below_keeps_to_the_grid(grid: Uniform, start: list[float]) -> None:
    process = DiscreteVP.linear()
    first = torch.tensor(start, dtype=torch.float64)
    times = Below(grid).times(process, first)
    points = Below(grid).points(process)
    assert torch.equal(times[0], first)
    assert (times <= first).all()
    inside = torch.isin(times[1:], points) | (times[1:] == first)
    assert inside.all()
    assert torch.equal(times[-1], torch.minimum(points[-1], first))


def test_matched_to_a_sub_sequence() -> None:
    """The nearest SNR among the grid's own times, the first of two that are equally near."""
    process, grid = DiscreteVP.scaled_linear(), Uniform(50)
    s2 = torch.tensor([0.004, 0.02, 0.3, 3.0, 1e4], dtype=torch.float64)
    t = Severity(White(()), grid=grid).time(process, s2)
    points = Below(grid).points(process)[:-1]
    distance = (process.snr(points)[None] - 1 / s2[:, None]).abs()
    assert torch.equal(t, points[distance.argmin(1)])
    assert float(t[-1]) == 1000


def test_what_flash_refuses() -> None:
    with pytest.raises(CompatibilityError, match="no diffusion steps"):
        flash("admm-tv")
    with pytest.raises(CompatibilityError, match="cannot go on with flash"):
        flash("flash")
    with pytest.raises(CompatibilityError, match="rule must be"):
        flash(rule="papper")  # type: ignore[arg-type]
    with pytest.raises(CompatibilityError, match="NaN"):
        Severity(White(())).time(DiscreteVP.linear(), torch.tensor([float("nan")]))
    prior = latent_oracle()
    with pytest.warns(UserWarning, match="held below 1"):
        Severity(White((2.0,)), "paper").corrected(
            torch.zeros(1, *SHAPE), torch.tensor([2.0]), torch.tensor([500.0]), prior, SeededNoise([0])
        )


def test_released_calls_one_step_further_down() -> None:
    process, s2 = DiscreteVP.scaled_linear(), torch.tensor([0.1, 0.2, 0.5], dtype=torch.float64)
    matched = Severity(White(()), "paper", grid=Uniform(1000)).time(process, s2)
    assert matched.tolist() == [55.0, 96.0, 177.0]  # METHODS 2.3: indices 54, 95, 176
    assert torch.equal(Severity(White(()), "released", grid=Uniform(1000)).time(process, s2), matched - 1)


def test_inner_methods_by_text() -> None:
    held = inner_method("ldps:scale=2,rule=released", 40)
    assert held.consistency.scale == 2  # type: ignore[attr-defined]
    assert len(held.grid.times(DiscreteVP.linear(), torch.tensor([1000.0]))) == 41
    assert flash(as_released=True).consistency.rule == "released"  # type: ignore[attr-defined]
