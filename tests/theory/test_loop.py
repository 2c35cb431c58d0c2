"""The laws of `reconstruct`: every image as if it were alone, nothing mutated, everything counted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from pellucid import methods
from pellucid.errors import CompatibilityError, NeedsCapability, ShapeError
from pellucid.grid import Grid, Inclusive, Leading, TimeTravel, Uniform
from pellucid.loop import Result, reconstruct
from pellucid.method import Method
from pellucid.noise import Noise, SeededNoise
from pellucid.operators.base import Operator
from pellucid.operators.blur import GaussianBlur
from pellucid.operators.mask import Mask
from pellucid.operators.tomography import ParallelBeam
from pellucid.prior.base import Prior, State
from pellucid.prior.gaussian import GaussianPrior
from pellucid.problem import Observation, Problem
from pellucid.process import Process
from pellucid.start.base import Start
from pellucid.step import Step
from pellucid.stop import StopBelow
from pellucid.transition import DDIM, Renoise
from tests.toys import SHAPE, PhaseAmplitude, ToySeverity, pictures, prior_for, toy_prior

SMALL: dict[str, Method] = {
    "ssd": methods.ssd(nfe=8),
    "ssd+": methods.ssd_plus(nfe=8),
    "ddnm": methods.ddnm(nfe=6, travel_length=2, travel_repeat=2),
    "ddnm+": methods.ddnm_plus(nfe=6),
    "ddrm": methods.ddrm(nfe=6),
    "dps": methods.dps(nfe=6),
    "pigdm": methods.pigdm(nfe=6),
    "dmps": methods.dmps(nfe=40),
    "diffpir": methods.diffpir(nfe=6),
    "mcg": methods.mcg(nfe=6),
    "repaint": methods.repaint(nfe=6, travel_length=2, travel_repeat=2),
    "ccdf": methods.ccdf(nfe=6),
    "ccdf-dps": methods.ccdf_dps(nfe=6),
    "resample": methods.resample(nfe=6, every=1),
    "ldps": methods.ldps(nfe=6),
    "gml-dps": methods.gml_dps(nfe=6),
    "psld": methods.psld(nfe=6),
    "ccdf-l": methods.ccdf_l(nfe=6),
    "flash": methods.flash(encoder=ToySeverity(), nfe=40),
    "ae": methods.ae(encoder=ToySeverity()),
    "latent-ddnm": methods.latent_ddnm(nfe=6),
    "dirac": methods.dirac(nfe=6, eta=0.5),
    "adir": methods.adir(nfe=6),
    "daps": methods.daps(nfe=6, ode_steps=2, langevin_steps=4),
    "red-diff": methods.red_diff(nfe=6),
    "pnp-admm": methods.pnp_admm(nfe=6),
    "admm-tv": methods.admm_tv(iterations=10),
    "pinv": methods.pinv(),
    "fbp": methods.fbp(),
    "cgls": methods.cgls(iterations=5),
    "unconditional": methods.unconditional(nfe=6, eta=0.5),
}
BATCH = 8
SEEDS = [0, 11, 5, 0, 2, 3, 7, 1]


def problem(operator: Operator) -> Problem:
    """Eight pictures, each at its own noise level."""
    x = pictures(BATCH)
    std = torch.linspace(0.01, 0.2, BATCH, dtype=torch.float64)
    y = operator(x)
    noise = SeededNoise(range(BATCH)).normal(y, 0, "measured")
    return Problem(y + std.reshape(-1, *(1,) * (y.ndim - 1)) * noise, operator, std)


def masks() -> Mask:
    """A mask of its own for every picture."""
    return Mask.random(SHAPE, torch.linspace(0.2, 0.8, BATCH).tolist(), seed=list(range(BATCH)))


def blurs() -> GaussianBlur:
    """A blur of its own for every picture."""
    return GaussianBlur(SHAPE, torch.linspace(0.4, 1.5, BATCH).tolist())


def operator_for(name: str) -> Operator:
    """One that the method works with."""
    return ParallelBeam(SHAPE, 5) if name == "fbp" else blurs() if name == "dirac" else masks()


def alone(whole: Problem, image: int) -> Problem:
    """One picture of the problem."""
    index = torch.tensor([image])
    std = torch.as_tensor(whole.noise_std)[index]
    return Problem(whole.y[index], whole.operator.select(index), std)


def test_every_method_is_here() -> None:
    assert set(SMALL) == set(methods.METHODS)


@pytest.mark.parametrize("name", SMALL)
def test_an_image_alone_equals_itself_in_a_batch(name: str) -> None:
    operator = operator_for(name) if name in ("repaint", "mcg", "fbp") else blurs()
    whole, prior = problem(operator), prior_for(name)
    together = reconstruct(whole, prior, SMALL[name], seeds=SEEDS).image
    assert torch.isfinite(together).all()
    for image in (0, 3, 6):
        apart = reconstruct(alone(whole, image), prior, SMALL[name], seeds=[SEEDS[image]]).image
        assert float((apart[0] - together[image]).abs().max()) < 1e-10


@pytest.mark.parametrize(
    "name", [name for name in SMALL if name not in ("ae", "pinv", "fbp", "cgls", "pnp-admm", "admm-tv")]
)
def test_seeds_matter_and_zero_is_one(name: str) -> None:
    whole, prior = problem(operator_for(name)), prior_for(name)
    first, again, other = (reconstruct(whole, prior, SMALL[name], seeds=seeds).image for seeds in (0, 0, 1))
    assert torch.equal(first, again)
    assert all(not torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("name", SMALL)
def test_inputs_are_never_mutated(name: str) -> None:
    whole, prior = problem(operator_for(name)), prior_for(name)
    y, std = whole.y.clone(), torch.as_tensor(whole.noise_std).clone()
    buffers = [buffer.clone() for buffer in whole.operator.buffers()]
    reconstruct(whole, prior, SMALL[name], seeds=SEEDS)
    assert torch.equal(y, whole.y) and torch.equal(std, torch.as_tensor(whole.noise_std))
    assert all(torch.equal(a, b) for a, b in zip(buffers, whole.operator.buffers(), strict=True))
    assert torch.is_grad_enabled()


@dataclass(frozen=True)
class OwnTimes(Start):
    """Noise at a time of its own for every image, told from its noise level."""

    def __call__(self, observation: Observation, prior: Prior, noise: Noise, top: Tensor) -> State:
        t = (4000 * observation.noise_std.cpu()).round().clamp(max=900)
        like = observation.y.new_zeros(len(observation.y), *SHAPE)
        return State(prior.process.diffuse(like, t, noise.normal(like, 0, "start")), t)


@pytest.mark.parametrize("grid", [Uniform(7), Inclusive(7), Leading(10), TimeTravel(Uniform(7), 2, 2)])
def test_every_image_may_start_at_its_own_time(grid: Grid) -> None:
    whole, prior = problem(masks()), toy_prior()
    method = Method(grid, DDIM(0.5), start=OwnTimes(), climb=Renoise())
    together = reconstruct(whole, prior, method, seeds=SEEDS)
    for image in range(BATCH):
        apart = reconstruct(alone(whole, image), prior, method, seeds=[SEEDS[image]])
        assert float((apart.image[0] - together.image[image]).abs().max()) < 1e-10
        assert apart.nfe[0] == together.nfe[image]
    assert not together.stopped_at.any()


COUNTS: list[tuple[Method, int, int]] = [
    (methods.ssd(nfe=30), 29, 0),
    (methods.ssd(nfe=100), 99, 0),
    (methods.ssd_plus(nfe=30), 29, 0),
    (methods.ddnm(nfe=10), 10, 0),
    (methods.ddnm(nfe=10, travel_length=2, travel_repeat=2), 18, 0),
    (methods.ddnm_plus(nfe=10), 10, 0),
    (methods.ddrm(nfe=20), 20, 0),
    (methods.dps(nfe=12), 12, 12),
    (methods.mcg(nfe=12), 12, 12),
    (methods.pigdm(nfe=12), 12, 12),
    (methods.ccdf_dps(nfe=12), 12, 12),
    (methods.ccdf(nfe=12), 12, 0),
    (methods.ldps(nfe=12), 12, 12),
    (methods.ldps(nfe=12, through_network=False), 12, 0),
    (methods.gml_dps(nfe=12), 12, 12),
    (methods.psld(nfe=12), 12, 12),
    (methods.ccdf_l(nfe=12), 12, 12),
    (methods.latent_ddnm(nfe=12), 12, 0),
    (methods.daps(nfe=12, ode_steps=3, langevin_steps=2), 12, 0),
    (methods.red_diff(nfe=12), 12, 0),
    (methods.dmps(nfe=12), 12, 0),
    (methods.diffpir(nfe=12), 12, 0),
    (methods.repaint(nfe=20, travel_length=5, travel_repeat=3), 20 + 3 * 2 * 5, 0),
    (methods.unconditional(nfe=12), 12, 0),
    (methods.pnp_admm(nfe=12), 12, 0),
    (methods.admm_tv(iterations=3), 0, 0),
    (methods.pinv(), 0, 0),
    (methods.fbp(), 0, 0),
    (methods.cgls(), 0, 0),
]


@pytest.mark.parametrize(("method", "nfe", "vjp"), COUNTS, ids=[f"{m.name}-{n}" for m, n, _ in COUNTS])
def test_network_calls_are_counted(method: Method, nfe: int, vjp: int) -> None:
    calls = []

    def network(x: Tensor, i: Tensor) -> Tensor:
        calls.append(len(x))
        return toy(x, i)

    prior = toy_prior()
    toy, prior.network = prior.network, network
    result = reconstruct(problem(operator_for(method.name)), prior, method)
    assert calls == [BATCH] * nfe
    assert result.nfe.tolist() == [nfe] * BATCH
    assert result.vjp.tolist() == [vjp] * BATCH
    assert result.complete and result.seconds > 0


def run(method: Method, **options: object) -> Result:
    return reconstruct(problem(masks()), toy_prior(), method, **options)  # type: ignore[arg-type]


def test_callbacks_see_every_step() -> None:
    seen: list[Step] = []
    result = run(methods.ddnm(nfe=5), callback=lambda step: seen.append(step), trace=True)
    assert [step.index for step in seen] == list(range(5))
    assert all(step.total == 5 for step in seen)
    assert result.trace is not None and len(result.trace) == 5
    for before, after in zip(result.trace, result.trace[1:], strict=False):
        assert torch.equal(before.x_s, after.state.x) and torch.equal(before.s, after.state.t)
    assert torch.equal(toy_prior().codec.decode(seen[-1].x_s), result.image)


def test_a_trace_holds_no_graph() -> None:
    result = run(methods.dps(nfe=3), trace=True)
    assert result.trace is not None
    for step in result.trace:
        assert step.raw.vjp is None and step.estimate.vjp is None
        assert not step.x_s.requires_grad and not step.raw.x0.requires_grad


def test_no_trace_unless_asked_for() -> None:
    assert run(methods.ddnm(nfe=2)).trace is None


def test_cancelling_keeps_the_estimates() -> None:
    seen: list[Step] = []

    def third(step: Step) -> bool:
        seen.append(step)
        return len(seen) == 3

    result = run(methods.ddnm(nfe=8), callback=third)
    assert not result.complete and len(seen) == 3
    assert result.nfe.tolist() == [3] * BATCH
    assert torch.equal(result.image, toy_prior().codec.decode(seen[-1].estimate.x0))
    assert torch.equal(result.stopped_at, seen[-1].s)


def test_cancelling_on_the_way_up_keeps_the_last_estimate() -> None:
    seen: list[Step] = []

    def upward(step: Step) -> bool:
        seen.append(step)
        return bool((step.s > step.state.t).any())

    result = run(methods.repaint(nfe=8, travel_length=2, travel_repeat=2), callback=upward)
    down = [step for step in seen if bool((step.s < step.state.t).all())]
    assert torch.equal(result.image, toy_prior().codec.decode(down[-1].raw.x0))


@dataclass(frozen=True)
class Waiting(Grid):
    """From 3 to 2 at once, then nothing for three steps; from 720 down in eighths of it."""

    def times(self, process: Process, start: Tensor) -> Tensor:
        first = torch.tensor([3.0, 2, 2, 2, 2, 1, 0], dtype=torch.float64)
        second = torch.tensor([720.0, 650, 580, 510, 440, 220, 0], dtype=torch.float64)
        return torch.stack([first, second], dim=1)


def test_cancelling_keeps_the_estimate_of_an_image_that_waits() -> None:
    """The first image moves once and then waits, noisy, while the second goes on."""
    mask = Mask.random(SHAPE, 0.5)
    std = torch.tensor([3 / 8000, 0.1], dtype=torch.float64)
    both = Problem(mask(pictures(2)), mask, std)
    seen: list[Step] = []

    def fourth(step: Step) -> bool:
        seen.append(step)
        return step.index == 3

    prior = toy_prior()
    result = reconstruct(both, prior, Method(Waiting(), DDIM(0.5), start=OwnTimes()), callback=fourth)
    moved = [step for step in seen if len(step.s) == 2]
    assert len(seen) == 4 and len(moved) == 1 and moved[0].state.t.tolist() == [3, 800]
    assert torch.equal(result.image[0], prior.codec.decode(moved[0].raw.x0[0]))
    assert result.stopped_at.tolist() == [2, 440]


def test_early_stopping() -> None:
    method = replace(methods.unconditional(nfe=10), stop=StopBelow(output="x0", time=400.0))
    result = run(method, trace=True)
    assert result.stopped_at.tolist() == [400.0] * BATCH
    assert result.nfe.tolist() == [6] * BATCH
    assert result.trace is not None
    assert torch.equal(result.image, toy_prior().codec.decode(result.trace[-1].estimate.x0))


def test_noise_levels_are_each_images_own() -> None:
    """A picture's result does not change with the noise level of another."""
    whole, prior = problem(masks()), toy_prior()
    std = torch.as_tensor(whole.noise_std).clone()
    std[1:] *= 2
    for name in ("ddrm", "ddnm+", "pigdm", "dps", "diffpir", "dmps"):
        a = reconstruct(whole, prior, SMALL[name], seeds=SEEDS).image
        b = reconstruct(replace(whole, noise_std=std), prior, SMALL[name], seeds=SEEDS).image
        assert float((a[0] - b[0]).abs().max()) < 1e-10
        assert float((a[1:] - b[1:]).abs().max()) > 1e-3


def test_one_noise_level_is_that_level_for_everybody() -> None:
    whole, prior = replace(problem(masks()), noise_std=0.1), toy_prior()
    each = replace(whole, noise_std=torch.full((BATCH,), 0.1, dtype=torch.float64))
    a, b = (reconstruct(p, prior, SMALL["ddrm"]).image for p in (whole, each))
    assert torch.equal(a, b)


def test_float32_follows_float64() -> None:
    whole, prior = problem(masks()), toy_prior()
    seeds = Rounded(SEEDS)
    for name in ("ssd", "ddnm", "ddnm+", "ddrm", "dmps", "diffpir", "repaint", "ccdf-dps"):
        exact = reconstruct(whole, prior, SMALL[name], seeds=seeds).image
        single = reconstruct(replace(whole, y=whole.y.float()), prior, SMALL[name], seeds=seeds).image
        assert single.dtype == torch.float32
        assert float((exact - single).abs().max()) < 1e-4


@pytest.mark.parametrize("name", ["ssd", "ddnm", "ddrm", "dmps", "diffpir"])
def test_alone_or_together_in_float32(name: str) -> None:
    whole, prior = problem(masks()), toy_prior()
    whole = replace(whole, y=whole.y.float())
    together = reconstruct(whole, prior, SMALL[name], seeds=SEEDS).image
    apart = reconstruct(alone(whole, 5), prior, SMALL[name], seeds=SEEDS[5:6]).image
    assert float((apart[0] - together[5]).abs().max()) < 1e-4


class Rounded(SeededNoise):
    """The float32 draws, whatever the dtype."""

    def normal(self, like: Tensor, step: int, purpose: str) -> Tensor:
        return super().normal(like.float(), step, purpose).to(like)

    def select(self, index: Tensor) -> Rounded:
        return Rounded(super().select(index).seeds)


def test_what_cannot_work_is_refused_by_name() -> None:
    phase = PhaseAmplitude(SHAPE)
    nonlinear = Problem(phase(pictures(1)), phase)
    for name in ("ddnm", "ddrm", "pigdm", "ssd", "repaint"):
        with pytest.raises(NeedsCapability, match="dps takes any operator"):
            reconstruct(nonlinear, toy_prior(), SMALL[name])
    with pytest.raises(CompatibilityError, match="variance"):
        reconstruct(nonlinear, toy_prior(), methods.dps(nfe=2, learned_variance=True))
    with pytest.raises(ShapeError):
        reconstruct(nonlinear, GaussianPrior.natural(8), methods.dps(nfe=2))
    with pytest.raises(CompatibilityError, match="clip"):
        Method(Uniform(1), DDIM(), clip="maybe")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["ddrm", "dps", "pigdm"])
def test_inside_the_callers_inference_mode(name: str) -> None:
    whole, prior = problem(blurs()), toy_prior()
    usual = reconstruct(whole, prior, SMALL[name], seeds=SEEDS).image
    with torch.inference_mode():
        inside = reconstruct(problem(blurs()), prior, SMALL[name], seeds=SEEDS).image
    assert torch.equal(usual, inside) and not inside.is_inference()


def test_any_whole_number_is_a_seed() -> None:
    whole, prior = problem(masks()), toy_prior()
    python, numpy = (reconstruct(whole, prior, SMALL["ddrm"], seeds=seed).image for seed in (3, np.int64(3)))
    assert torch.equal(python, numpy)
