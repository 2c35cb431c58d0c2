"""One run tells what every stop would have given."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from pellucid import Problem, reconstruct
from pellucid.degradation import Degradation
from pellucid.errors import CompatibilityError
from pellucid.methods import get
from pellucid.methods.dirac import dirac
from pellucid.noise import Noise
from pellucid.operators.families.blur import BlurFamily
from pellucid.operators.unknown import Unknown
from pellucid.prior.base import Prior, State
from pellucid.prior.dirac import DiracPrior
from pellucid.prior.tiled import TiledPrior
from pellucid.problem import Observation
from pellucid.start.base import Start
from pellucid.step import Step
from pellucid.tradeoff import recorded, tradeoff
from tests.toys import SHAPE, pictures, toy_prior


def sharpened(y: Tensor, sigma: Tensor) -> tuple[Tensor, None]:
    """A restoration that is told the noise: unsharp masking, less of it under more noise."""
    share = (1 / (1 + 20 * sigma))[:, None, None, None].to(y)
    return y + share * 0.3 * (y - torch.roll(y, 1, dims=3)), None


def stretched(y: Tensor, sigma: Tensor) -> tuple[Tensor, None]:
    """A restoration of every pixel by itself, the same in a tile."""
    return y + (1 - 10 * sigma)[:, None, None, None].to(y) * 0.5 * (y - 0.5), None


def family(shape: tuple[int, ...] = SHAPE) -> BlurFamily:
    return BlurFamily(shape, (0.3, 1.0, 3.0), identity_below=0.0)


def setting(batch: int = 3) -> tuple[Problem, DiracPrior, Tensor]:
    """Pictures that enter at times of their own."""
    process = Degradation(family())
    x, t = pictures(batch), torch.linspace(0.3, 1, batch, dtype=torch.float64)
    y = process.diffuse(x, t, torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype))
    return Problem(y, process.family(SHAPE).at(t), process.sigma(t)), DiracPrior(sharpened, process), x


def test_every_estimate_is_what_stopping_there_gives() -> None:
    problem, prior, _ = setting()
    paths = tradeoff(problem, prior, dirac(10), 5, stops=100)
    for image, path in enumerate(paths):
        alone = problem.select(torch.tensor([image]))
        assert path.shown.tolist() == list(range(len(path.times)))
        for k in range(len(path.times)):
            after = float(path.times[k + 1]) if k + 1 < len(path.times) else 0.0
            result = reconstruct(alone, prior, dirac(10, stop=after), seeds=[5 + image])
            assert torch.allclose(result.image[0], path.pictures[k], atol=1e-10)
            assert int(result.nfe) == int(path.nfe[k]) == k + 1
            misfit = ((alone.y - alone.operator(result.image)) / float(alone.std)).square().mean()
            assert float(path.residual[k]) == pytest.approx(float(misfit), rel=1e-9)
    assert [len(path.times) for path in paths] == [3, 7, 10]  # the grid's times below 0.3, 0.65 and 1, and the entry


@pytest.mark.parametrize("output", ["x0", "state"])
def test_the_result_is_that_of_the_method_itself(output: str) -> None:
    problem, prior, _ = setting()
    method = dirac(10, stop=0.35, output=output)
    result, paths = recorded(problem, prior, method, 5)
    own = reconstruct(problem, prior, method, seeds=5)
    assert torch.allclose(result.image, own.image, atol=1e-10) and torch.equal(result.stopped_at, own.stopped_at)
    assert [path.chosen for path in paths] == [int(calls) - 1 for calls in own.nfe]
    assert [int(path.nfe[-1]) for path in paths] == result.nfe.tolist()  # but it went all the way
    assert float(paths[2].times[paths[2].chosen]) > 0.35


def test_few_pictures_are_kept_and_the_chosen_one_among_them() -> None:
    problem, prior, truth = setting()
    seen: list[tuple[int, ...]] = []

    def measure(x0: Tensor, images: Tensor) -> dict[str, Tensor]:
        seen.append(tuple(images.tolist()))
        return {"error": (x0 - truth[images]).square().flatten(1).mean(1)}

    _, _, path = tradeoff(problem, prior, dirac(40, stop=0.5), stops=4, measure=measure)
    assert path.shown.tolist() == [0, 13, 19, 26, 39] and path.chosen == 19 and path.pictures.shape == (5, *SHAPE)
    errors = (path.pictures - truth[2]).square().flatten(1).mean(1)
    assert torch.allclose(errors, path.figures["error"][path.shown], atol=1e-12)
    assert (0, 1, 2) in seen and (2,) in seen and len(path.figures["error"]) == 40


def test_misfit_is_not_told_without_noise_or_operator() -> None:
    problem, prior, _ = setting(1)
    (quiet,) = tradeoff(Problem(problem.y, problem.operator, 0.0), prior, dirac(5))
    assert quiet.residual.isnan().all() and len(quiet.residual) == 2
    told = DiracPrior(sharpened, Degradation(family()), severity=lambda y: torch.full((len(y),), 0.5))
    (unknown,) = tradeoff(Problem(problem.y, Unknown(SHAPE, SHAPE), 0.01), told, dirac(4))
    assert unknown.residual.isnan().all() and unknown.times.tolist() == pytest.approx([0.5, 0.25])


def test_any_method_has_a_way_and_a_callback_may_cut_it() -> None:
    x = pictures(2)
    operator = family().at(0.5)
    problem = Problem(operator(x), operator, 0.05)
    cut: list[int] = []

    def callback(step: Step) -> bool:
        cut.append(step.index)
        return step.index == 2

    result, paths = recorded(problem, toy_prior(), get("ddrm").build(6), 3, callback=callback)
    assert not result.complete and cut == [0, 1, 2] and [len(path.times) for path in paths] == [3, 3]
    (path, _) = tradeoff(problem, toy_prior(), get("ddrm").build(6), 3)
    whole = reconstruct(problem, toy_prior(), get("ddrm").build(6), seeds=3, trace=True)
    assert whole.trace is not None
    last = toy_prior().codec.picture(whole.trace[-1].estimate.x0, SHAPE)[0]
    assert path.nfe.tolist() == [1, 2, 3, 4, 5, 6] and torch.allclose(path.pictures[-1], last, atol=1e-10)


def test_one_stop_is_no_trade() -> None:
    problem, prior, _ = setting(1)
    with pytest.raises(CompatibilityError, match="stops must be at least 2"):
        tradeoff(problem, prior, dirac(5), stops=1)


def test_tiles_change_neither_the_way_nor_the_head() -> None:
    problem, prior, _ = setting()
    prior = DiracPrior(stretched, prior.process)
    told = DiracPrior(stretched, prior.process, severity=lambda y: y.flatten(1).std(1).clamp(0.2, 1))
    unknown = Problem(problem.y, Unknown(SHAPE, SHAPE), 0.01)
    for given, used in ((problem, prior), (unknown, told)):
        whole = tradeoff(given, used, dirac(6), 2)
        parts = tradeoff(given, TiledPrior(used, tile=12, overlap=4), dirac(6), 2)
        for a, b in zip(whole, parts, strict=True):
            assert torch.equal(a.times, b.times) and torch.equal(a.nfe, b.nfe)
            assert torch.allclose(a.pictures, b.pictures, atol=1e-10)


@dataclass(frozen=True)
class At(Start):
    """The measurement, said to be at given times."""

    times: tuple[float, ...]

    def __call__(self, observation: Observation, prior: Prior, noise: Noise, top: Tensor) -> State:
        return State(observation.y, torch.tensor(self.times, dtype=torch.float64))


def test_an_image_that_makes_no_step_has_its_result_as_the_one_estimate() -> None:
    problem, prior, truth = setting()
    method = replace(dirac(10, stop=0.35), start=At((0.0, 1.0, 0.0)))

    def measure(x0: Tensor, images: Tensor) -> dict[str, Tensor]:
        return {"error": (x0 - truth[images]).square().flatten(1).mean(1)}

    result, paths = recorded(problem, prior, method, 5, measure=measure)
    own = reconstruct(problem, prior, method, seeds=5)
    assert torch.equal(result.image, own.image) and torch.equal(result.stopped_at, own.stopped_at)
    assert [len(path.times) for path in paths] == [1, 10, 1] and result.complete
    for image in (0, 2):
        path = paths[image]
        assert path.times.tolist() == [0.0] and path.nfe.tolist() == [0] and path.chosen == 0
        assert path.shown.tolist() == [0] and torch.equal(path.pictures[0], problem.y[image])
        assert float(path.figures["error"]) == pytest.approx(float((problem.y - truth)[image].square().mean()))
        alone = problem.select(torch.tensor([image]))
        misfit = ((alone.y - alone.operator(alone.y)) / float(alone.std)).square().mean()
        assert float(path.residual) == pytest.approx(float(misfit), rel=1e-9)
    # Nor does it count as unfinished where the others are ended after their stop.
    cut, _ = recorded(problem, prior, method, 5, callback=lambda step: bool((step.s < 0.2).all()))
    assert cut.complete and torch.equal(cut.image, own.image)
