"""A budget of calls or seconds for starts by severity: met, used up, and no image's result depends on the others."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from pellucid.budget import Pace, most_calls, pace, severity_start, survey, with_share, within, within_seconds
from pellucid.codec import AffineCodec
from pellucid.errors import CompatibilityError
from pellucid.loop import reconstruct
from pellucid.method import Method
from pellucid.methods import flash, get
from pellucid.operators.diagonal import Identity
from pellucid.operators.mask import Mask
from pellucid.prior.base import Prior
from pellucid.prior.gaussian import GaussianPrior
from pellucid.problem import Observation, Problem
from pellucid.process import VE, DiscreteVP, Process
from pellucid.typing import Shape

SHAPE = (1, 4, 4)
SEVERITIES = (0.002, 0.02, 0.1, 0.4, 0.8)
PROCESSES = {"vp": DiscreteVP.scaled_linear(), "ve": VE()}


@dataclass(frozen=True)
class Told:
    """An encoder that reads the severity in the first pixel, and takes the measurement for the estimate."""

    def __call__(self, observation: Observation, prior: Prior) -> tuple[Tensor, Tensor]:
        return observation.y, observation.y[:, 0, 0, 0].double().exp()


class Slow(GaussianPrior):
    """A network that takes its time: 2 ms."""

    def _denoise(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor | None]:
        time.sleep(0.002)
        return super()._denoise(x, t)


def prior_of(process: Process, kind: type[GaussianPrior] = GaussianPrior) -> GaussianPrior:
    variance, mean = torch.full(SHAPE, 0.36, dtype=torch.float64), torch.zeros(SHAPE, dtype=torch.float64)
    return kind(variance, mean, process=process, codec=AffineCodec(bounded=False))


def problem_of(severities: tuple[float, ...] = SEVERITIES) -> Problem:
    y = torch.zeros(len(severities), *SHAPE, dtype=torch.float64)
    y[:, 0, 0, 0] = torch.tensor(severities, dtype=torch.float64).log()
    return Problem((y + 1) / 2, Identity(SHAPE))


def method_of(inner: str = "none", nfe: int = 100, rule: str = "exact") -> Method:
    return flash(inner, Told(), nfe, rule)  # type: ignore[arg-type]


@pytest.mark.parametrize("process", PROCESSES.values(), ids=list(PROCESSES))
@pytest.mark.parametrize("rule", ["exact", "paper", "released", "inversion"])
@pytest.mark.parametrize("nfe", [1, 7.5, 20])
def test_the_mean_of_real_calls_meets_the_budget_and_uses_it_up(process: Process, rule: str, nfe: float) -> None:
    prior, problem, method = prior_of(process), problem_of(), method_of(rule=rule)
    scaled = within(method, problem, prior, nfe)
    calls = reconstruct(problem, prior, scaled).nfe
    assert calls.double().mean() <= nfe
    assert torch.equal(calls, survey(method, problem, prior).forecast(scaled, process).calls)
    share = severity_start(scaled).share
    if scaled is method:
        return
    more = with_share(scaled, share * (1 + 1e-6))  # a little more of the way is too much
    assert share < 1 and reconstruct(problem, prior, more).nfe.double().mean() > nfe


def test_harder_images_keep_more_steps_and_the_budget_is_no_target() -> None:
    process = PROCESSES["vp"]
    prior, problem, method = prior_of(process), problem_of(), method_of()
    free = survey(method, problem, prior).forecast(method, process)
    assert torch.equal(free.steps, reconstruct(problem, prior, method).nfe) and free.full == 100
    assert (
        (free.steps.diff() > 0).all()
        and free.t[0] < free.t[-1]
        and torch.allclose(free.s2[1], torch.tensor(0.02).double())
    )
    scaled = within(method, problem, prior, 12)
    kept = survey(method, problem, prior).forecast(scaled, process)
    assert (kept.steps.diff() >= 0).all() and (kept.steps <= free.steps).all() and kept.steps[-1] > 2 * kept.steps[0]
    assert within(method, problem, prior, 1000) is method
    less = with_share(method, 0.3)
    assert within(less, problem, prior, 1000) is less  # a share that was asked for is never raised
    assert reconstruct(problem, prior, within(method, problem, prior, 0)).nfe.eq(0).all()


def test_an_image_alone_equals_it_in_the_batch_and_problems_may_come_one_by_one() -> None:
    process = PROCESSES["vp"]
    prior, problem, method = prior_of(process), problem_of(), method_of()
    scaled = within(method, problem, prior, 12)
    apart = (problem.select(torch.tensor([i])) for i in range(len(SEVERITIES)))
    assert within(method, apart, prior, 12) == scaled
    whole = reconstruct(problem, prior, scaled, seeds=range(5)).image
    for i in range(5):
        alone = reconstruct(problem.select(torch.tensor([i])), prior, scaled, seeds=[i]).image
        assert torch.allclose(alone[0], whole[i], rtol=0, atol=1e-10)


def test_steps_with_several_calls_never_exceed_the_budget() -> None:
    process = PROCESSES["vp"]
    prior, problem = prior_of(process), problem_of()
    method = method_of("daps:ode_steps=3,langevin_steps=1", nfe=90)
    assert most_calls(method.consistency) == 3 and method.steps(process) == 30
    scaled = within(method, problem, prior, 20)
    calls = reconstruct(problem, prior, scaled).nfe
    assert 10 < calls.double().mean() <= 20
    assert most_calls(get("resample").build(solver="adamw", lookahead=4).consistency) == 5
    assert most_calls(get("dps").build().consistency) == 1


def test_time_travel_counts_the_steps_down_alone() -> None:
    process = PROCESSES["vp"]
    prior, problem = prior_of(process), Problem(problem_of().y, Mask(SHAPE, torch.ones(SHAPE)))
    method = method_of("repaint:travel_repeat=3,travel_length=2", nfe=20)
    found = survey(method, problem, prior).forecast(method, process)
    assert torch.equal(found.calls, reconstruct(problem, prior, method).nfe)
    scaled = within(method, problem, prior, 15)
    assert reconstruct(problem, prior, scaled).nfe.double().mean() <= 15


def test_seconds_are_shared_out_by_what_each_image_takes() -> None:
    process = PROCESSES["vp"]
    prior, problem, method = prior_of(process), problem_of(), method_of(nfe=200)
    paces = [Pace(0.1, 0.5)] * 3 + [Pace(0.4, 1.0)] * 2  # two larger pictures
    found = replace(survey(method, problem, prior), paces=paces)
    fixed, call = sum(pace.fixed for pace in paces), torch.tensor([pace.call for pace in paces]).double()

    def seconds(m: Method) -> float:
        return fixed + float((call * reconstruct(problem, prior, m).nfe).sum())

    whole = seconds(method)
    for limit in (whole, whole / 2, 5.0):
        scaled = found.within_seconds(method, process, limit)
        assert limit - 1.7 < seconds(scaled) <= limit + 1e-9  # a step more of every picture is 1.1 s
    assert found.within_seconds(method, process, whole) is method
    assert reconstruct(problem, prior, found.within_seconds(method, process, 1.0)).nfe.eq(0).all()  # decoding is 3.5


def test_what_a_step_takes_is_measured() -> None:
    process = PROCESSES["vp"]
    prior, problem, method = prior_of(process, Slow), problem_of(), method_of(nfe=200)
    found = pace(method, problem, prior)
    assert found.call >= 0.002 and found.fixed > 0
    known: dict[tuple[Shape, Shape], Pace] = {}
    timed = survey(method, [problem, problem], prior, timed=True, paces=known)
    assert len(timed.paces) == 10 and len(known) == 1 and timed.spent >= 4 * 0.002
    assert within_seconds(method, problem, prior, 1e6) is method
    scaled = within_seconds(method, problem, prior, 1e-6)
    assert severity_start(scaled).share < 0.01 and reconstruct(problem, prior, scaled).nfe.eq(0).all()


def test_what_has_no_budget_says_so() -> None:
    prior, problem = prior_of(PROCESSES["vp"]), problem_of()
    with pytest.raises(CompatibilityError, match="take flash"):
        within(get("dps").build(), problem, prior, 10)
    with pytest.raises(CompatibilityError, match="nfe must be at least 0"):
        within(method_of(), problem, prior, -1)
    with pytest.raises(CompatibilityError, match="nfe must be at least 0"):
        within(method_of(), problem, prior, float("nan"))
    with pytest.raises(CompatibilityError, match="at least one image"):
        within(method_of(), [], prior, 10)
    with pytest.raises(CompatibilityError, match="timed=True"):
        survey(method_of(), problem, prior).within_seconds(method_of(), prior.process, 10)
