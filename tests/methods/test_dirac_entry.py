"""Where Dirac's path is entered, in corners: other units, several images, nothing to undo."""

from __future__ import annotations

import pickle

import pytest
import torch

from pellucid.degradation import Degradation, Geometric
from pellucid.errors import CompatibilityError, ShapeError
from pellucid.loop import reconstruct
from pellucid.methods import dirac
from pellucid.noise import SeededNoise
from pellucid.operators import GaussianBlur
from pellucid.operators.each import each
from pellucid.operators.families import BlurFamily, ContrastFamily, ViewFamily, family
from pellucid.operators.tomography import ParallelBeam
from pellucid.operators.unknown import Unknown
from pellucid.prior.dirac import DiracPrior
from pellucid.problem import Problem
from pellucid.start.degraded import Measured
from tests.toys import SHAPE, pictures, toy_restoration

TOP = torch.ones(1, dtype=torch.float64)


def test_a_sinograms_noise_is_judged_in_the_picture() -> None:
    """Filtered back-projection multiplies it: by much in widths of the picture, by little in pixels."""
    views = ViewFamily(SHAPE, least=4, most=16)
    prior = DiracPrior(toy_restoration, Degradation(views, Geometric(0.005, 0.02)))
    for unit, level, fine in (("width", 0.015, False), ("pixel", 0.05, True)):
        beam = ParallelBeam(SHAPE, 4, unit=unit)
        gain = views.shown(beam, beam(pictures(1)))[1]
        assert (level * gain < 0.02) == fine
        problem = Problem(beam(pictures(1)), beam, level)
        if fine:
            Measured().check(problem, prior)
        else:
            with pytest.raises(CompatibilityError, match=r"is more than the 0\.02"):
                Measured().check(problem, prior)


@pytest.mark.filterwarnings("ignore:the measurement is noisier")
def test_what_is_as_good_as_the_paths_beginning_is_refused() -> None:
    prior = DiracPrior(toy_restoration, Degradation(BlurFamily.dirac(SHAPE)))
    operator = GaussianBlur(SHAPE, 0.3)
    with pytest.raises(CompatibilityError, match="nothing to undo"):
        reconstruct(Problem(operator(pictures(1)), operator, 0.0), prior, dirac(5))
    assert reconstruct(Problem(operator(pictures(1)), operator, 0.03), prior, dirac(5)).nfe.tolist()[0] > 0


@pytest.mark.filterwarnings("ignore:the measurement is noisier")
def test_noise_that_fades_with_the_contrast_is_made_up_for() -> None:
    """y = keep x + sigma n, faded further: what is left of n and what is added are sigma_t^2 together."""
    own = ContrastFamily((1, 64, 64), least=0.2)
    prior = DiracPrior(toy_restoration, Degradation(own))
    operator = own.at(0.5)
    clean = operator(0 * pictures(1, (1, 64, 64)) + 0.4)
    n = SeededNoise([3]).normal(clean, 0, "n")
    problem = Problem(clean + 0.05 * n, operator, 0.05)
    state = Measured()(prior.codec.observe(problem), prior, SeededNoise([4]), TOP)
    noise = state.x - own.at(1.0)(0 * clean + 0.4)
    assert float(state.t) == 1 and float(noise.std()) == pytest.approx(0.05, rel=0.03)


def test_the_warning_speaks_of_the_image_that_is_degraded_further() -> None:
    own = BlurFamily.dirac(SHAPE)
    prior = DiracPrior(toy_restoration, Degradation(own))
    operator = GaussianBlur(SHAPE, torch.tensor([2.5, 0.6]))
    y = operator(pictures(2))
    problem = Problem(y, operator, torch.tensor([0.012, 0.045]))
    with pytest.warns(UserWarning, match="degraded further") as both:
        Measured()(prior.codec.observe(problem), prior, SeededNoise([0, 1]), TOP.expand(2))
    with pytest.warns(UserWarning, match="degraded further") as alone:
        one = problem.select(torch.tensor([1]))
        Measured()(prior.codec.observe(one), prior, SeededNoise([1]), TOP)
    assert str(both[0].message) == str(alone[0].message)


def test_several_images_of_unknown_severity_are_told_by_the_head() -> None:
    prior = DiracPrior(
        toy_restoration, Degradation(BlurFamily.dirac(SHAPE)), severity=lambda y: 0.9 + 0 * y.flatten(1).mean(1)
    )
    operator = each([Unknown(SHAPE), Unknown(SHAPE)])
    result = reconstruct(Problem(pictures(2), operator, 0.01), prior, dirac(10))
    assert result.started_at is not None and result.started_at.tolist() == pytest.approx([0.9, 0.9])


@pytest.mark.parametrize(("steps", "stop", "calls"), [(10, 0.3, 7), (20, 0.15, 17), (20, 0.35, 13), (100, 0.47, 53)])
def test_a_stop_on_the_grid_is_reached_and_no_further(steps: int, stop: float, calls: int) -> None:
    own = BlurFamily.dirac(SHAPE)
    prior = DiracPrior(toy_restoration, Degradation(own))
    operator = own.at(1.0)
    result = reconstruct(Problem(operator(pictures(1)), operator, 0.05), prior, dirac(steps, stop=stop))
    assert result.nfe.tolist() == [calls]


def test_processes_can_be_sent_to_other_processes() -> None:
    for process in (Degradation(BlurFamily.dirac(SHAPE)), Degradation(family("hole"))):
        again = pickle.loads(pickle.dumps(process))
        t = torch.tensor([0.4], dtype=torch.float64)
        assert torch.equal(again.mean(pictures(1), t), process.mean(pictures(1), t))


@pytest.mark.parametrize("high", [float("inf"), float("nan")])
def test_noise_schedules_are_finite(high: float) -> None:
    with pytest.raises(CompatibilityError):
        Geometric(0.01, high)


def test_grey_pictures_are_refused_by_colour_networks() -> None:
    own = BlurFamily.dirac((1, 16, 16))
    operator = own.at(1.0)
    problem = Problem(operator(pictures(1, (1, 16, 16))), operator, 0.05)
    with pytest.raises(ShapeError, match="takes colour pictures"):
        reconstruct(problem, DiracPrior(toy_restoration, Degradation(own), channels=3), dirac(2))
    assert reconstruct(problem, DiracPrior(toy_restoration, Degradation(own), channels=1), dirac(2)).complete
