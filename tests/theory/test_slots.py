"""The laws of `stream`: each result is that of the image alone, whoever shares the slots; no problem is taken early."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import pellucid
from pellucid import methods
from pellucid.account import current
from pellucid.consistency.backprojection import BackProjection
from pellucid.consistency.guidance import PosteriorGuidance
from pellucid.consistency.hard import HardConsistency
from pellucid.consistency.when import During
from pellucid.errors import CompatibilityError, NeedsCapability, ProblemError, ShapeError
from pellucid.grid import Below, Grid, Inclusive, Leading, Nowhere, TimeTravel, Uniform
from pellucid.loop import Result, reconstruct
from pellucid.method import Method
from pellucid.nn.unet import UNet
from pellucid.noise import Noise, RecordedNoise, SeededNoise
from pellucid.operators import KernelBlur, Transmission
from pellucid.operators.base import Operator
from pellucid.operators.blur import GaussianBlur
from pellucid.operators.color import Grey
from pellucid.operators.mask import Mask
from pellucid.operators.tomography import ParallelBeam
from pellucid.prior.base import Prior, State
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.problem import Observation, Problem
from pellucid.process import Process
from pellucid.slots import stream
from pellucid.start.base import Start
from pellucid.step import Step
from pellucid.stop import StopBelow
from pellucid.transition import DDIM, Renoise
from tests.latent import toy_latent_prior
from tests.theory.test_loop import SMALL
from tests.toys import SHAPE, PhaseAmplitude, pictures, prior_for, toy_prior

IMAGES = 7
STD = (0.02, 0.2, 0.05, 0.11, 0.01, 0.16, 0.03)


@dataclass(frozen=True)
class OwnTimes(Start):
    """Noise at a time of its own for every image, told from its noise level."""

    def __call__(self, observation: Observation, prior: Prior, noise: Noise, top: Tensor) -> State:
        t = prior.process.on_grid(4500 * observation.noise_std.cpu() / 2).clamp(max=float(top[0]))
        like = observation.y.new_zeros(len(observation.y), *prior.codec.shape(observation.problem.operator.image_shape))
        return State(prior.process.diffuse(like, t, noise.normal(like, 0, "start")), t)


@dataclass(frozen=True)
class ToldByNoise:
    """A severity encoder: the noisier y is, the more wrong its estimate, which is y."""

    def __call__(self, observation: Observation, prior: Prior) -> tuple[Tensor, Tensor]:
        return 0.8 * observation.y, (2 * observation.noise_std.cpu()) ** 2 + 0.01


OURS: dict[str, Method] = {
    **SMALL,
    "flash": methods.flash(inner="dps", encoder=ToldByNoise(), nfe=40),
    "ae": methods.ae(encoder=ToldByNoise()),
}
STARTED: dict[str, Method] = {  # whose own start is part of the method
    **{name: SMALL[name] for name in ("ssd", "ssd+", "ccdf", "ddrm")},
    "ccdf-dps": methods.ccdf_dps(nfe=6, initial="pinv"),
    "ccdf-l": methods.ccdf_l(nfe=6, initial="pinv"),
    "flash": methods.flash(inner="ddnm", encoder=ToldByNoise(), nfe=8, rule="inversion"),
    "flash on a sub-sequence": methods.flash(inner="ldps", encoder=ToldByNoise(), nfe=8, match=True),
}


def measured(operator: Operator, image: int, std: float, shape: tuple[int, ...] = SHAPE) -> Problem:
    """Picture `image`, measured with noise of its own."""
    y = operator(pictures(IMAGES + 3, shape)[image : image + 1])
    return Problem(y + std * SeededNoise([100 + image]).normal(y, 0, "measured"), operator, std)


def blurs() -> list[Operator]:
    """An operator object of its own for every image; two of them are alike."""
    return [GaussianBlur(SHAPE, std) for std in (0.4, 1.0, 0.7, 1.3, 1.0, 0.5, 1.5)]


def masks() -> list[Operator]:
    return [Mask.random(SHAPE, 0.2 + 0.08 * i, seed=i) for i in range(IMAGES)]


def problems(operators: list[Operator]) -> list[Problem]:
    return [measured(operator, i, std) for i, (operator, std) in enumerate(zip(operators, STD, strict=True))]


def own_operators(name: str) -> list[Operator]:
    """Those that the method works with; some are of one image alone."""
    if name == "fbp":
        return [ParallelBeam(SHAPE, 5) for _ in range(IMAGES)]
    return masks() if name in ("repaint", "mcg") else blurs()


def varied(name: str) -> Method:
    """The method with a start at a time of its own for every image."""
    method = OURS[name]
    if isinstance(method.grid, Nowhere) or name in ("flash", "dirac"):  # which have one of their own
        return method
    return replace(method, start=OwnTimes(), grid=Below(method.grid))


def alone(given: list[Problem], prior: Prior, method: Method, seeds: list[int]) -> list[Result]:
    return [reconstruct(problem, prior, method, seeds=[seed]) for problem, seed in zip(given, seeds, strict=True)]


def compare(found: dict[int, Result], wanted: list[Result], tolerance: float = 1e-10) -> None:
    """Pictures, counts and ends."""
    assert sorted(found) == list(range(len(wanted)))
    for number, one in enumerate(wanted):
        other = found[number]
        assert torch.isfinite(one.image).all() and other.image.shape == one.image.shape
        assert float((other.image - one.image).abs().max()) < tolerance
        for count in ("nfe", "vjp", "decodes", "decode_vjps", "encodes", "stopped_at", "started_at"):
            assert torch.equal(getattr(other, count), getattr(one, count)), count
        assert other.operator_calls == one.operator_calls
        assert other.complete and other.seconds > 0


SEEDS = [3, 0, 11, 5, 0, 2, 7]


def test_every_method_is_here() -> None:
    assert set(OURS) >= set(methods.METHODS)


@pytest.mark.parametrize("name", OURS)
def test_a_stream_of_images_that_start_at_times_of_their_own_equals_each_alone(name: str) -> None:
    given, prior, method = problems(own_operators(name)), prior_for(name), varied(name)
    rows: set[int] = set()

    def watch(step: Step) -> None:
        rows.add(len(set(step.indices.tolist())))

    found = dict(stream(given, prior, method, slots=3, seeds=SEEDS, callback=watch))
    compare(found, alone(given, prior, method, SEEDS))
    if not isinstance(method.grid, Nowhere):
        assert max(rows) > 1  # images were at different steps in one call
        assert len({int(result.nfe) for result in found.values()}) > 2


@pytest.mark.parametrize("name", STARTED)
def test_a_start_that_is_the_methods_own_runs_when_the_image_enters(name: str) -> None:
    given, prior = problems(blurs()), toy_prior()
    found = dict(stream(given, prior, STARTED[name], slots=3, seeds=SEEDS))
    compare(found, alone(given, prior, STARTED[name], SEEDS))


@pytest.mark.parametrize("name", ["resample", "ldps", "gml-dps", "ccdf-l", "latent-ddnm", "daps"])
def test_behind_an_autoencoder(name: str) -> None:
    prior = toy_latent_prior()
    shape = (3, 32, 32)
    method = STARTED[name] if name == "ccdf-l" else varied(name)
    given = [measured(GaussianBlur(shape, 0.5 + 0.3 * i), i, STD[i], shape) for i in range(5)]
    found = dict(stream(given, prior, method, slots=3, seeds=SEEDS[:5]))
    compare(found, alone(given, prior, method, SEEDS[:5]), 1e-8)  # optimisers through a decoder blow rounding up


def test_one_call_serves_all_slots() -> None:
    """Also where every image has an operator of its own."""
    sizes: list[int] = []

    def network(x: Tensor, i: Tensor) -> Tensor:
        sizes.append(len(x))
        return toy(x, i)

    prior = toy_prior()
    toy, prior.network = prior.network, network
    given = problems(blurs())
    found = dict(stream(given, prior, varied("ddnm"), slots=3, seeds=SEEDS))
    calls = sum(int(result.nfe) for result in found.values())
    assert sum(sizes) == calls
    full = sizes[: len(sizes) - sizes[::-1].index(3)]  # up to the last full call, before the slots run empty
    assert set(full) == {3} and len(full) >= calls // 3 - 6


def test_problems_of_several_images_with_parameters_of_their_own() -> None:
    prior, method = toy_prior(), varied("dps")
    std = torch.tensor(STD, dtype=torch.float64)
    operator = GaussianBlur(SHAPE, [0.4, 1.0, 0.7, 1.3, 0.9, 0.5, 1.5])
    y = operator(pictures(IMAGES))
    whole = Problem(y + std.reshape(-1, 1, 1, 1) * SeededNoise(range(IMAGES)).normal(y, 0, "measured"), operator, std)
    parts = [whole.select(torch.arange(*ends)) for ends in ((0, 4), (4, 5), (5, 7))]
    found = dict(stream(iter(parts), prior, method, slots=3, seeds=SEEDS))
    compare(found, alone([whole.select(torch.tensor([i])) for i in range(IMAGES)], prior, method, SEEDS))


def test_operators_of_different_kinds_share_the_slots() -> None:
    """Spectral, linear, nonlinear, with Poisson noise, and of another size: each kind takes its own way."""
    prior, method = toy_prior(), replace(varied("dps"), grid=Below(Uniform(5)))
    kernel = torch.tensor([[0.1, 0.2], [0.3, 0.4]], dtype=torch.float64)
    small = (3, 12, 16)
    given = [
        measured(Mask.random(SHAPE, 0.5), 0, 0.1),
        measured(KernelBlur(SHAPE, kernel), 1, 0.05),
        measured(PhaseAmplitude(SHAPE), 2, 0.2),
        measured(GaussianBlur(small, 0.8), 3, 0.12, small),
        replace(measured(Mask.random(SHAPE, 0.4), 4, 0.08), gain=0.01),
        measured(Grey(SHAPE), 5, 0.15),
        measured(ParallelBeam(SHAPE, 6), 6, 0.1),
        measured(ParallelBeam(SHAPE, 6, unit="pixel"), 7, 0.1),
        measured(Transmission(ParallelBeam(SHAPE, 4), 3.0), 8, 0.1),
    ]
    seeds = list(range(9))
    compare(dict(stream(given, prior, method, slots=5, seeds=seeds)), alone(given, prior, method, seeds))


@pytest.mark.parametrize("grid", [Uniform(7), Inclusive(7), Leading(10), TimeTravel(Uniform(7), 2, 2)])
def test_grids_that_begin_at_the_start(grid: Grid) -> None:
    """Images climb while others descend."""
    given, prior = problems(masks()), toy_prior()
    method = Method(grid, DDIM(0.5), start=OwnTimes(), consistency=BackProjection(), climb=Renoise())
    compare(dict(stream(given, prior, method, slots=3, seeds=SEEDS)), alone(given, prior, method, SEEDS))


def test_rules_of_some_steps_act_on_the_images_that_are_there() -> None:
    given, prior = problems(blurs()), toy_prior()
    for rule in (
        During(BackProjection(), first=2, every=2),
        During(PosteriorGuidance(), first=1, last=6, every=3),
        HardConsistency(every=3, begin=1.0, switch=0.4, lookahead=1, guidance=PosteriorGuidance(0.5)),
    ):
        method = Method(Below(Uniform(8)), DDIM(0.5), start=OwnTimes(), consistency=rule)
        found = dict(stream(given, prior, method, slots=4, seeds=SEEDS))
        compare(found, alone(given, prior, method, SEEDS))


def test_the_order_of_input_and_of_completion() -> None:
    given, prior, method = problems(masks()), toy_prior(), varied("ddnm")
    by_input = [number for number, _ in stream(given, prior, method, slots=3, seeds=SEEDS)]
    by_end = [number for number, _ in stream(given, prior, method, slots=3, seeds=SEEDS, order="completion")]
    assert by_input == list(range(IMAGES))
    assert sorted(by_end) == by_input and by_end != by_input
    assert by_end.index(4) < by_end.index(1)  # the quietest image overtakes the loudest


@pytest.mark.parametrize("order", ["input", "completion"])
def test_problems_are_taken_when_there_is_room(order: str) -> None:
    given, prior, method = problems(masks()) * 3, toy_prior(), varied("ddnm")
    taken, ended, ahead = 0, 0, []

    def source() -> Iterator[Problem]:
        nonlocal taken
        for problem in given:
            taken += 1
            ahead.append(taken - ended)
            yield problem

    def at_the_end(step: Step) -> None:
        nonlocal ended
        ended += int((step.s == 0).sum())

    arrivals = stream(source(), prior, method, slots=4, callback=at_the_end, order=order)  # type: ignore[arg-type]
    assert taken == 0  # nothing before the first result is asked for
    first = next(arrivals)
    assert taken <= ended + 4
    assert first[1].image.shape == (1, *SHAPE) and len(list(arrivals)) == 20
    assert max(ahead) <= 5 and taken == 21


def test_an_endless_source() -> None:
    def source() -> Iterator[Problem]:
        while True:
            yield measured(Mask.random(SHAPE, 0.5), 0, 0.1)

    arrivals = stream(source(), toy_prior(), varied("ddnm"), slots=2, seeds=iter([4] * 1000))
    images = [next(arrivals)[1].image for _ in range(5)]
    assert all(torch.allclose(image, images[0], atol=1e-10) for image in images)


def test_stops_and_outputs_are_each_images_own() -> None:
    given, prior = problems(masks()), toy_prior()
    for stop in (StopBelow(time=150.0), StopBelow(output="x0", time=150.0)):
        method = replace(varied("ddrm"), stop=stop, grid=Below(Uniform(20)))
        found = dict(stream(given, prior, method, slots=3, seeds=SEEDS))
        compare(found, alone(given, prior, method, SEEDS))
        assert all(float(result.stopped_at) <= 150 for result in found.values())


def test_ending_a_stream_keeps_the_estimates() -> None:
    given, prior, method = problems(masks()), toy_prior(), replace(varied("dps"), grid=Below(Uniform(20)))
    last: list[Step] = []

    def after_some(step: Step) -> bool:
        last.append(step)
        return len(last) == 6

    found = dict(stream(given, prior, method, slots=3, seeds=SEEDS, callback=after_some))
    cut = [number for number, result in found.items() if not result.complete]
    assert cut and set(cut) <= set(last[-1].images.tolist()) and len(found) < IMAGES
    for row, number in enumerate(last[-1].images.tolist()):
        if number in cut:
            assert torch.equal(found[number].image[0], prior.codec.decode(last[-1].estimate.x0[row]))
            assert float(found[number].stopped_at) == float(last[-1].s[row]) > 0


def test_images_without_steps_pass_through() -> None:
    given, prior = problems(masks()), toy_prior()
    found = dict(stream(iter(given), prior, methods.pinv(), slots=2))
    compare(found, alone(given, prior, methods.pinv(), list(range(IMAGES))))
    assert not list(stream([], prior, methods.pinv()))


def test_a_list_is_checked_before_any_work() -> None:
    phase = PhaseAmplitude(SHAPE)
    given = [*problems(masks())[:3], Problem(phase(pictures(2)), phase)]
    with pytest.raises(NeedsCapability, match=r"^images 3, 4: ddnm needs a linear operator"):
        stream(given, toy_prior(), methods.ddnm(nfe=5))
    with pytest.raises(ProblemError, match=r"^image 0: a stream takes problems, not a Tensor"):
        stream([torch.zeros(1)], toy_prior(), methods.ddnm(nfe=5))  # type: ignore[list-item]


def test_a_problem_that_does_not_fit_is_named_after_the_results_of_those_before() -> None:
    phase = PhaseAmplitude(SHAPE)
    given = [*problems(masks())[:3], Problem(phase(pictures(1)), phase), problems(masks())[3]]
    found = []
    with pytest.raises(NeedsCapability, match=r"^image 3: ddnm needs a linear operator"):
        found.extend(stream(iter(given), toy_prior(), varied("ddnm"), slots=2, seeds=SEEDS))
    compare(dict(found), alone(given[:3], toy_prior(), varied("ddnm"), SEEDS[:3]))


def test_an_error_of_the_source_comes_after_the_results_of_those_before() -> None:
    def source() -> Iterator[Problem]:
        yield from problems(masks())[:2]
        raise OSError("the disk is gone")

    found = []
    with pytest.raises(OSError, match="disk"):
        found.extend(stream(source(), toy_prior(), varied("ddnm"), slots=4))
    assert [number for number, _ in found] == [0, 1]


@dataclass(frozen=True)
class Fragile(OwnTimes):
    """Fails for one noise level."""

    def __call__(self, observation: Observation, prior: Prior, noise: Noise, top: Tensor) -> State:
        if (observation.problem.std == STD[3]).any():
            raise ShapeError("too small a picture")
        return super().__call__(observation, prior, noise, top)


def test_a_start_that_fails_names_its_image() -> None:
    found = []
    method = replace(varied("ddnm"), start=Fragile())
    with pytest.raises(ShapeError, match=r"^image 3: too small a picture"):
        found.extend(stream(problems(masks()), toy_prior(), method, slots=2))
    assert [number for number, _ in found] == [0, 1, 2]


def test_what_depends_on_the_batch_is_refused_by_name() -> None:
    prior = DiffusionPrior(UNet(widths=(8, 16), blocks=(1, 1), heads=2, embedding=16), multiple=4)
    with pytest.raises(CompatibilityError, match=r"ssd looks back .* use reconstruct"):
        stream(problems(masks()), prior, methods.ssd(nfe=8, attention=True))


def test_wrong_arguments_are_refused() -> None:
    given, prior, method = problems(masks()), toy_prior(), methods.pinv()
    with pytest.raises(CompatibilityError, match="slots must be at least 1"):
        stream(given, prior, method, slots=0)
    with pytest.raises(CompatibilityError, match="order"):
        stream(given, prior, method, order="any")  # type: ignore[arg-type]
    with pytest.raises(ProblemError, match="no seed for image 2"):
        list(stream(given, prior, method, seeds=[1, 2]))


@dataclass(frozen=True)
class Ragged(Grid):
    """As many rows as the batch happens to need."""

    def times(self, process: Process, start: Tensor) -> Tensor:
        rows = int(start.max()) // 100 + 2
        return start * torch.linspace(1, 0, rows, dtype=torch.float64)[:, None]


def test_a_grid_with_more_rows_for_some_images_than_for_others_is_refused() -> None:
    method = Method(Ragged(), DDIM(), start=OwnTimes())
    with pytest.raises(CompatibilityError, match="all need as many rows"):
        list(stream(problems(masks()), toy_prior(), method, slots=3))


def test_a_step_of_images_at_different_steps_has_no_one_index() -> None:
    mixed: list[Step] = []
    list(stream(problems(masks()), toy_prior(), varied("ddnm"), slots=3, callback=lambda step: mixed.append(step)))
    step = next(step for step in mixed if len(set(step.indices.tolist())) > 1)
    with pytest.raises(CompatibilityError, match="indices"):
        _ = step.index
    assert torch.equal(step.remaining, step.total - 1 - step.indices)


def test_recorded_noise_is_that_of_each_image() -> None:
    given, prior, method = problems(masks()), toy_prior(), varied("ddnm")
    seeded, like = SeededNoise(SEEDS), torch.zeros(IMAGES, *SHAPE, dtype=torch.float64)
    keys = [(k, purpose) for k in range(40) for purpose in ("start", "step", "climb")]
    recorded = RecordedNoise({key: seeded.normal(like, *key) for key in keys})
    compare(
        dict(stream(given, prior, method, slots=3, seeds=recorded)),
        [reconstruct(p, prior, method, seeds=recorded.select(torch.tensor([i]))) for i, p in enumerate(given)],
    )


def test_the_callers_modes_are_left_alone() -> None:
    given = problems(masks())
    for number, result in stream(given, toy_prior(), varied("dps"), slots=3):
        assert torch.is_grad_enabled() and current() is None
        assert number >= 0 and not result.image.requires_grad
    with torch.inference_mode():
        inside = dict(stream(given, toy_prior(), varied("dps"), slots=3))
    assert not any(result.image.is_inference() for result in inside.values())


@settings(max_examples=12)
@given(
    times=st.lists(st.integers(0, 1000), min_size=1, max_size=6),
    slots=st.integers(1, 5),
    nfe=st.integers(1, 12),
    groups=st.integers(1, 3),
)
def test_any_start_times_in_any_slots(times: list[int], slots: int, nfe: int, groups: int) -> None:
    mask = Mask.random(SHAPE, 0.4)
    std = torch.tensor(times, dtype=torch.float64) / 4500  # OwnTimes makes the times of it
    y = mask(pictures(len(times)))
    whole = Problem(y, mask, std)
    parts = [whole.select(part) for part in torch.arange(len(times)).split(groups)]
    method = Method(Below(Uniform(nfe)), DDIM(0.7), start=OwnTimes(), consistency=BackProjection())
    found = dict(stream(parts, toy_prior(), method, slots=slots))
    together = reconstruct(whole, toy_prior(), method)
    assert sorted(found) == list(range(len(times)))
    for i, result in found.items():
        assert float((result.image[0] - together.image[i]).abs().max()) < 1e-10
        assert int(result.nfe) == int(together.nfe[i]) <= nfe


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddnm", "dps", "diffpir"])
def test_in_float32_with_the_shipped_prior(name: str) -> None:
    prior = pellucid.load_prior("photo", precision="float32")
    shape = (3, 64, 64)
    method = replace(SMALL[name], start=OwnTimes(), grid=Below(Uniform(12)))
    given = []
    for i in range(IMAGES):
        problem = measured(GaussianBlur(shape, 0.5 + 0.2 * i), i, STD[i], shape)
        given.append(replace(problem, y=problem.y.float()))
    found = dict(stream(given, prior, method, slots=3, seeds=SEEDS))
    for i, result in enumerate(alone(given, prior, method, SEEDS)):
        assert found[i].image.dtype == torch.float32 and torch.equal(found[i].nfe, result.nfe)
        assert float((found[i].image - result.image).abs().max()) < 1e-4
