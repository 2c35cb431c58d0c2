"""ReSample behind a nonlinear autoencoder equals the paper's algorithm, and its authors' code, with the same noise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pellucid.errors import CompatibilityError
from pellucid.loop import reconstruct
from pellucid.method import Method
from pellucid.methods.resample import Solver, released, resample
from pellucid.noise import SeededNoise
from pellucid.operators.base import Operator
from pellucid.problem import Problem
from tests.latent import LATENT, ToyAutoencoder, toy_latent_prior
from tests.reference import resample as reference
from tests.reference.symbols import per_image
from tests.toys import ABAR, SHAPE, SPECTRAL, PhaseAmplitude, at_timestep, pictures, toy_eps

SEEDS = (0, 7)
NOISE = torch.tensor([0.05, 0.1], dtype=torch.float64)
OPERATORS = ("mask", "blur", "bicubic", "phase")


def _operator(name: str) -> Operator:
    return PhaseAmplitude(SHAPE) if name == "phase" else SPECTRAL[name]()


def _problem(operator: Operator) -> Problem:
    clean = operator(pictures(2))
    return Problem(clean + per_image(NOISE, clean) * SeededNoise([3, 4]).normal(clean, 0, "measured"), operator, NOISE)


def _draw(step: int, purpose: str, like: Tensor) -> Tensor:
    return SeededNoise(SEEDS).normal(like, step, purpose)


def _start(top: int) -> Tensor:
    return (1 - float(ABAR[top])) ** 0.5 * _draw(0, "start", torch.zeros(2, *LATENT, dtype=torch.float64))


def _in_network_range(problem: Problem):  # noqa: ANN202
    """(y, A) with y_net - A_net(v) = 2 (y - A((v + 1) / 2))."""
    operator = problem.operator
    return 2 * problem.y, lambda v: 2 * operator((v + 1) / 2)


def _run(problem: Problem, method: Method) -> Tensor:
    return 2 * reconstruct(problem, toy_latent_prior(), method, seeds=SEEDS).image - 1


@pytest.mark.parametrize("form", ["paper", "encoding"])
@pytest.mark.parametrize("name", OPERATORS)
def test_equals_the_papers_algorithm(name: str, form: str) -> None:
    n, problem, toy = 10, _problem(_operator(name)), ToyAutoencoder()
    y, A = _in_network_range(problem)
    timesteps = [round(1000 * k / n) - 1 for k in range(1, n + 1)]
    z = reference.algorithm_1(
        at_timestep(toy_eps),
        ABAR,
        timesteps,
        _start(999),
        y,
        A,
        toy.decode,
        toy.encode,
        _draw,
        sigma=2 * NOISE,
        every=2,
        gamma=40 * n / 500,
        steps=(30, 40),
        encoding=form == "encoding",
    )
    method = resample(n, 2, form=form, solver="adamw", pixel_steps=30, latent_steps=40, finish=False)
    assert float((_run(problem, method) - toy.decode(z)).abs().max()) < 1e-10


@pytest.mark.parametrize("name", OPERATORS)
def test_as_released_equals_the_published_sampler(name: str) -> None:
    S, problem, toy = 40, _problem(_operator(name)), ToyAutoencoder()
    method, images = released(S, 30, 30), []
    for b, seed in enumerate(SEEDS):  # the published code takes one image at a time
        one = problem.select(torch.tensor([b]))
        y, A = _in_network_range(one)
        z = reference.released(
            at_timestep(toy_eps),
            ABAR,
            S,
            _start(976)[b : b + 1],
            y,
            A,
            toy.decode,
            toy.encode,
            lambda step, purpose, like, seed=seed: SeededNoise([seed]).normal(like, step, purpose),
            steps=(30, 30),
        )
        images.append(toy.decode(z))
    assert float((_run(problem, method) - torch.cat(images)).abs().max()) < 1e-9


def test_the_published_schedule_counts_665_network_calls() -> None:
    """METHODS 3.2: 500 steps and 33 visits of 5 more calls; here with optimisers of one step."""
    problem = _problem(_operator("mask"))
    result = reconstruct(problem, toy_latent_prior(), released(500, 1, 1), seeds=SEEDS)
    assert result.nfe.tolist() == [665, 665]
    assert result.decode_vjps.tolist() == [500 + 16 + 1] * 2  # guidance, latent visits, the last optimisation
    assert result.encodes.tolist() == [17, 17]


@pytest.mark.parametrize(
    "options", [{"nfe": 10, "every": 10, "finish": False}, {"nfe": 15, "every": 11, "solver": "adamw"}]
)
def test_a_schedule_that_never_looks_at_y_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(CompatibilityError, match="never look at y"):
        resample(**options)  # type: ignore[arg-type]


def test_two_steps_may_be_enough_to_look_at_y() -> None:
    problem, method = _problem(_operator("mask")), resample(2, 1, begin=1.0, switch=1.0, finish=False)
    assert reconstruct(problem, toy_latent_prior(), method, seeds=SEEDS).decode_vjps.min() > 0


@pytest.mark.parametrize("nfe", [5, 10, 50])
@pytest.mark.parametrize("solver", ["fast", "adamw"])
def test_every_default_schedule_looks_at_y(solver: Solver, nfe: int) -> None:
    problem = _problem(_operator("blur"))
    other = Problem(1 - problem.y, problem.operator, NOISE)
    method = resample(nfe, solver=solver, pixel_steps=5, latent_steps=3)
    assert float((_run(problem, method) - _run(other, method)).abs().max()) > 0.01


def test_options_that_mean_nothing_are_refused() -> None:
    with pytest.raises(CompatibilityError, match="fast or adamw"):
        resample(solver="lbfgs")  # type: ignore[arg-type]
    with pytest.raises(CompatibilityError):
        resample(every=0)
    with pytest.raises(CompatibilityError):
        resample(nfe=0)


def test_a_run_that_was_ended_early_is_not_finished() -> None:
    problem, method = _problem(_operator("mask")), released(40, 5, 5)
    cut = reconstruct(problem, toy_latent_prior(), method, seeds=SEEDS, callback=lambda step: True)
    assert not cut.complete and cut.decode_vjps.tolist() == [1, 1]  # the guidance of the one step


def test_decoder_passes_of_an_image_do_not_depend_on_the_batch() -> None:
    problem = _problem(_operator("blur"))
    together = reconstruct(problem, toy_latent_prior(), resample(nfe=20), seeds=SEEDS)
    for image, seed in enumerate(SEEDS):
        alone = reconstruct(problem.select(torch.tensor([image])), toy_latent_prior(), resample(nfe=20), seeds=[seed])
        assert int(alone.decodes[0]) == int(together.decodes[image])
        assert int(alone.decode_vjps[0]) == int(together.decode_vjps[image])
