"""Dirac as a method: against a straight transcription, where it starts, what it refuses, each image on its own."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from pellucid import methods
from pellucid.degradation import Degradation, Geometric
from pellucid.errors import CompatibilityError
from pellucid.loop import reconstruct
from pellucid.methods import dirac
from pellucid.noise import Index, Noise, SeededNoise
from pellucid.operators import GaussianBlur, Identity, Mask
from pellucid.operators.base import Operator
from pellucid.operators.families import BlurFamily, Family, MaskFamily
from pellucid.operators.unknown import Unknown
from pellucid.prior.base import State
from pellucid.prior.dirac import DiracPrior
from pellucid.prior.gaussian import GaussianPrior
from pellucid.problem import Problem
from pellucid.start.degraded import Measured
from pellucid.transition import INCREMENTS, Reversal
from pellucid.verify.restoration import GaussianRestoration
from tests.reference.dirac import algorithm_1
from tests.toys import SHAPE, pictures, toy_prior, toy_restoration

QUIET = (0.01, 0.05)
NOISIER = "ignore:the measurement is noisier"


def prior_of(family: Family, noise: tuple[float, float] = QUIET, **words: Any) -> DiracPrior:
    return DiracPrior(toy_restoration, Degradation(family, Geometric(*noise)), **words)


def measured(family: Family, count: int = 2, std: float = 0.05) -> Problem:
    """Pictures at the end of the path."""
    operator = family.at(1.0)
    clean = operator(pictures(count, family.image_shape))
    return Problem(clean + std * SeededNoise(range(50, 50 + count)).normal(clean, 0, "measured"), operator, std)


# Against the transcription

FAMILIES: dict[str, Callable[[], Family]] = {
    "blur": lambda: BlurFamily.dirac(SHAPE),
    "hole": lambda: MaskFamily(SHAPE, 4.123),
}
RULES = [name for name in INCREMENTS if name != "network"]
GUIDANCE: dict[str, dict[str, Any]] = {
    "none": {},
    "std": {"eta": 0.5, "scaling": "std"},
    "error": {"eta": 0.7, "scaling": "error"},
}


def transcribed(problem: Problem, family: Family, seeds: list[int], **words: Any) -> Tensor:
    """Image by image, with the draws that `reconstruct` makes."""

    def phi(y: Tensor, level: float) -> Tensor:
        return toy_restoration(y, torch.tensor([level], dtype=torch.float64))[0]

    def degrade(x: Tensor, t: float) -> Tensor:
        return family.at(t)(x)

    def one(y: Tensor, noise: Noise) -> Tensor:
        return algorithm_1(phi, degrade, y, 12, lambda i: noise.normal(y, i, "step"), **words)[0]

    return torch.cat([one(problem.y[k : k + 1], SeededNoise([seed])) for k, seed in enumerate(seeds)])


@pytest.mark.parametrize(("name", "rule", "guidance"), [*product(FAMILIES, RULES, GUIDANCE)])
def test_every_rule_and_guidance_is_the_papers(name: str, rule: str, guidance: str) -> None:
    """Both outputs, to the end and with an early stop; the paper's guidance, and that of its code."""
    family, words = FAMILIES[name](), GUIDANCE[guidance]
    problem, prior = measured(family), prior_of(family)
    told = {"eta": words.get("eta"), "relative": words.get("scaling") == "error"}
    for output, stop, released in (("x0", 0.0, False), ("state", 0.5, False), ("x0", 0.5, True), ("state", 0.0, True)):
        method = dirac(
            12,
            stop=stop,
            output=output,
            increments=rule,
            small=0.03,
            as_released=released,
            **words,  # type: ignore[arg-type]
        )
        found = reconstruct(problem, prior, method, seeds=[4, 9]).image
        wanted = transcribed(
            problem,
            family,
            [4, 9],
            update=rule.replace("-", "_"),
            small=0.03,
            stop=stop,
            x0_last=output == "x0",
            ascend=released,
            strictly_below=released,
            **told,
        )
        assert float((found - wanted).abs().max()) < 1e-10 * max(1.0, float(wanted.abs().max()))


def test_guidance_descends_and_the_published_code_climbs() -> None:
    """From one step on, the data error is smaller with the paper's sign, and larger with the code's."""
    family = FAMILIES["blur"]()
    problem, prior = measured(family), prior_of(family)

    def error(**words: Any) -> Tensor:
        method = dirac(12, **words)
        image = reconstruct(problem, prior, method, seeds=3).image
        return (problem.y - problem.operator(image)).square().flatten(1).sum(1)

    paper, without, code = error(eta=0.5), error(), error(eta=0.5, as_released=True)
    assert (paper < without).all() and (without < code).all()


PUBLISHED = [  # METHODS 1.4 and 1.2: dt, stop_t, network calls
    ("CelebA deblurring, perception", 0.02, 0.25, 38),
    ("CelebA deblurring, distortion", 0.02, 1.0, 1),
    ("ImageNet deblurring, perception", 0.02, 0.0, 50),
    ("ImageNet deblurring, distortion", 0.02, 0.7, 16),
    ("CelebA inpainting, perception", 0.005, 0.0, 200),
    ("CelebA inpainting, distortion", 0.2, 1.0, 1),
    ("ImageNet inpainting, perception", 0.01, 0.0, 100),
    ("ImageNet inpainting, distortion", 0.01, 1.0, 1),
]


@pytest.mark.parametrize(("name", "dt", "stop", "calls"), PUBLISHED, ids=[row[0] for row in PUBLISHED])
def test_published_settings_take_the_published_calls(name: str, dt: float, stop: float, calls: int) -> None:
    family = MaskFamily((1, 8, 8), 2.0)
    method = dirac(round(1 / dt), stop=stop, as_released=True)
    result = reconstruct(measured(family), prior_of(family), method)
    assert result.nfe.tolist() == [calls, calls]
    _, transcribed_calls = algorithm_1(
        lambda y, level: y,
        lambda x, t: family.at(t)(x),
        measured(family).y[:1],
        round(1 / dt),
        lambda i: torch.zeros(1, 1, 8, 8, dtype=torch.float64),
        stop=stop,
        strictly_below=True,
    )
    assert transcribed_calls == calls


def test_the_papers_own_stop_takes_one_step_less_where_the_grid_meets_it() -> None:
    family = MaskFamily((1, 8, 8), 2.0)
    for stop, calls, eta in ((0.7, 15, 0.0), (0.25, 38, 0.5), (1.0, 1, 0.0), (0.0, 50, 0.2)):
        result = reconstruct(measured(family), prior_of(family), dirac(50, stop=stop, eta=eta))
        assert result.nfe.tolist() == [calls, calls]
        assert result.vjp.tolist() == ([calls, calls] if eta else [0, 0])


# Each image on its own


def mixed(count: int = 6) -> tuple[Problem, BlurFamily]:
    """Blurs of their own, noise of their own: quieter than the path there, or noisier."""
    family = BlurFamily.dirac(SHAPE)
    t = torch.linspace(0.1, 1.0, count, dtype=torch.float64)
    operator = GaussianBlur(SHAPE, family.std(t))
    std = torch.tensor([0.005, 0.03, 0.0, 0.05, 0.02, 0.01], dtype=torch.float64)[:count]
    clean = operator(pictures(count))
    y = clean + std[:, None, None, None] * SeededNoise(range(count)).normal(clean, 0, "measured")
    return Problem(y, operator, std), family


@pytest.mark.filterwarnings(NOISIER)
@pytest.mark.parametrize("words", [{}, {"eta": 0.5, "increments": "look-back"}, {"eta": 0.5, "scaling": "error"}])
def test_an_image_alone_equals_itself_in_a_batch(words: dict[str, Any]) -> None:
    problem, family = mixed()
    prior, seeds = prior_of(family), [5, 0, 3, 3, 8, 1]
    method = dirac(12, stop=0.2, **words)
    together = reconstruct(problem, prior, method, seeds=seeds)
    assert len(set(together.started_at.tolist())) == 5 and len(set(together.nfe.tolist())) > 3
    for k in range(6):
        one = reconstruct(problem.select(torch.tensor([k])), prior, method, seeds=[seeds[k]])
        assert float((one.image[0] - together.image[k]).abs().max()) < 1e-10
        assert one.nfe[0] == together.nfe[k] and one.started_at[0] == together.started_at[k]


def test_a_step_knows_each_image_s_time() -> None:
    """A_t with t per image is the family at each of them: one step of a batch equals the steps of its images."""
    family = BlurFamily.dirac(SHAPE)
    prior, x = prior_of(family), pictures(3)
    t = torch.tensor([1.0, 0.6, 0.3], dtype=torch.float64)
    s = torch.tensor([0.9, 0.2, 0.28], dtype=torch.float64)
    for rule in RULES:
        step = Reversal(rule)
        state = State(x, t)
        estimate = prior.estimate(state)
        k, _ = step.weights(prior.process, t, s, estimate)
        whole = step.mean(prior.process, state, s, estimate, k)
        for i in range(3):
            one = state.select(torch.tensor([i]))
            alone = prior.estimate(one)
            part = step.mean(prior.process, one, s[i : i + 1], alone, k[i : i + 1])
            assert float((part[0] - whole[i]).abs().max()) < 1e-12


# Where it starts

SIDE = 6
PIXELS = SIDE * SIDE
SMALL = (1, SIDE, SIDE)
ENTERED: dict[str, Callable[[], Family]] = {
    "blur": lambda: BlurFamily(SMALL, (0.3, 1.5), identity_below=0.0),
    "circular blur": lambda: BlurFamily(SMALL, (0.3, 1.5), identity_below=0.0, boundary="circular"),
    "hole": lambda: MaskFamily(SMALL, 2.0),
}


class Units(Noise):
    """The draw is given, whatever is asked for."""

    def __init__(self, z: Tensor) -> None:
        self.z = z

    def normal(self, like: Tensor, step: Index, purpose: str) -> Tensor:
        return self.z

    def select(self, index: Tensor) -> Units:
        return Units(self.z[index])


def entered(prior: DiracPrior, operator: Operator, std: float) -> tuple[Tensor, Tensor, float]:
    """(P, Q, t*): the start is y_t* = P y + Q z."""
    unit = torch.eye(PIXELS, dtype=torch.float64).reshape(-1, *SMALL)
    y, z = torch.cat([unit, 0 * unit]), torch.cat([0 * unit, unit])
    observation = prior.codec.observe(Problem(y, operator, std))
    state = Measured()(observation, prior, Units(z), torch.ones(len(y), dtype=torch.float64))
    out = state.x.flatten(1)
    return out[:PIXELS].T, out[PIXELS:].T, float(state.t[0])


def dense(operator: Operator) -> Tensor:
    return operator(torch.eye(PIXELS, dtype=torch.float64).reshape(-1, *SMALL)).flatten(1).T


@pytest.mark.filterwarnings(NOISIER)
@pytest.mark.parametrize("std", [0.0, 0.012, 0.02, 0.03, 0.049, 0.05])
@pytest.mark.parametrize("severity", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("name", ENTERED)
def test_a_measurement_enters_the_path_with_its_law(name: str, severity: float, std: float) -> None:
    """y_t* ~ N(A_t* x, sigma_t*^2 I) exactly, t* the first time as degraded and as noisy: mean and covariance.

    A blur with reflecting edges enlarges a few directions by a little, and where noise was enlarged none can be taken
    away again: the covariance is off by that.
    """
    prior = prior_of(ENTERED[name]())
    p = prior.process
    family = p.family(SMALL)
    operator = family.at(severity)
    at_y, at_z, t = entered(prior, operator, std)
    noise_time = float(p.noise.time(torch.tensor(max(std, 0.01), dtype=torch.float64)))
    assert t == pytest.approx(max(severity, noise_time), abs=1e-9)
    wanted = float(p.sigma(torch.tensor(t, dtype=torch.float64))) ** 2 * torch.eye(PIXELS, dtype=torch.float64)
    assert torch.allclose(at_y @ dense(operator), dense(family.at(t)), atol=1e-7)
    found = std**2 * at_y @ at_y.T + at_z @ at_z.T
    enlarged = max(0.0, float(torch.linalg.matrix_norm(at_y, 2)) ** 2 - 1) if name == "blur" else 0.0
    assert enlarged < 0.16
    assert float(torch.linalg.matrix_norm(found - wanted, 2)) <= (enlarged + 1e-7) * float(wanted[0, 0])


def test_the_end_of_the_path_is_taken_as_it_is() -> None:
    """The paper's start: no draw, y itself, t = 1; nothing to warn of."""
    for make in ENTERED.values():
        family = make()
        at_y, at_z, t = entered(prior_of(family), family.at(1.0), 0.05)
        assert t == 1 and torch.equal(at_y, torch.eye(PIXELS, dtype=torch.float64)) and not at_z.any()


def test_being_degraded_further_is_said() -> None:
    family = ENTERED["blur"]()
    with pytest.warns(UserWarning, match=r"degraded further, to t = 0\.68"):
        entered(prior_of(family), family.at(0.2), 0.03)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        entered(prior_of(family), family.at(0.7), 0.03)


def test_denoising_enters_where_the_noise_says() -> None:
    with pytest.warns(UserWarning, match="degraded further"):
        _, _, t = entered(prior_of(ENTERED["hole"]()), Identity(SMALL), 0.03)
    assert t == pytest.approx(0.6826, abs=1e-4)


def test_an_unknown_severity_is_told_by_the_head() -> None:
    family = BlurFamily.dirac(SHAPE)
    problem = measured(family)
    told = torch.tensor([0.45, 0.95])
    prior = prior_of(family, severity=lambda y: told)
    result = reconstruct(Problem(problem.y, Unknown(SHAPE), 0.01), prior, dirac(10))
    assert result.started_at.tolist() == pytest.approx([0.45, 0.95]) and result.nfe.tolist() == [5, 10]
    with pytest.raises(CompatibilityError, match="no head that tells"):
        reconstruct(Problem(problem.y, Unknown(SHAPE), 0.01), prior_of(family), dirac(10))


# What it refuses


def test_what_cannot_work_is_refused_by_name() -> None:
    family = BlurFamily.dirac(SHAPE)
    prior, y = prior_of(family), pictures(1)
    with pytest.raises(CompatibilityError, match=r"another degradation \(Mask\)"):
        reconstruct(Problem(y, Mask.random(SHAPE, 0.5), 0.05), prior, dirac(4))
    with pytest.raises(CompatibilityError, match="stronger than the strongest"):
        reconstruct(Problem(y, GaussianBlur(SHAPE, 3.5), 0.05), prior, dirac(4))
    with pytest.raises(CompatibilityError, match=r"noise 0\.2 is more than the 0\.05"):
        reconstruct(Problem(y, family.at(1.0), 0.2), prior, dirac(4))
    with pytest.raises(CompatibilityError, match="Gaussian noise only"):
        reconstruct(Problem(y, family.at(1.0), 0.05, gain=0.01), prior, dirac(4))
    with pytest.raises(CompatibilityError, match="dirac needs a prior that was trained on a degradation"):
        reconstruct(Problem(y, family.at(1.0), 0.05), toy_prior(), dirac(4))
    with pytest.raises(CompatibilityError, match="dirac needs a prior that was trained on a degradation"):
        reconstruct(Problem(y, family.at(1.0), 0.05), GaussianPrior.natural(16), dirac(4))
    with pytest.raises(CompatibilityError, match="tells no increments"):
        reconstruct(Problem(y, family.at(1.0), 0.05), prior, dirac(4, increments="network"))


@pytest.mark.parametrize("name", ["dps", "ddnm", "ddrm", "diffpir", "pigdm", "dmps", "unconditional", "ccdf"])
def test_other_methods_refuse_its_prior(name: str) -> None:
    family = BlurFamily.dirac(SHAPE)
    with pytest.raises(CompatibilityError, match="only the method dirac goes that way"):
        reconstruct(measured(family), prior_of(family), methods.get(name).build(4))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"stop": 1.5}, "stop"),
        ({"output": "picture"}, "x0 or state"),
        ({"increments": "sideways"}, "look-ahead"),
        ({"small": 0.0}, "small"),
        ({"eta": 0.5, "scaling": "size"}, "std or error"),
        ({"nfe": 0}, "steps"),
    ],
)
def test_wrong_options_are_refused(words: dict[str, Any], said: str) -> None:
    with pytest.raises(CompatibilityError, match=said):
        dirac(**words)


# Increments from the network, and its other predictions


def test_a_network_that_tells_rates_steps_as_small_steps_ahead_do() -> None:
    """D (A_{t-d}(x_0) - A_t(x_0)) / d told by a network that knows x_0, against the family's own."""
    family, small = BlurFamily.dirac(SHAPE), 0.02
    p, x0 = Degradation(family), pictures(2)

    def knowing(y: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        t = p.noise.time(level)
        return x0.to(y), (p.mean(x0, t - small) - p.mean(x0, t)) / small

    told, computed = (
        reconstruct(
            measured(family),
            DiracPrior(knowing, p, rates=True),
            dirac(10, output="state", increments=rule, small=small),
        )
        for rule in ("network", "small-look-ahead")
    )
    assert float((told.image - computed.image).abs().max()) < 1e-10
    ahead = reconstruct(measured(family), DiracPrior(knowing, p), dirac(10, output="state"))
    assert float((told.image - ahead.image).abs().max()) > 1e-4


def test_every_prediction_gives_the_same_eps_on_an_exact_oracle() -> None:
    """E[A_t x_0 | y] = A_t E[x_0 | y] for linear A_t: what a network predicts makes no difference to the score."""
    family = ENTERED["blur"]()
    p = Degradation(family)
    exact = GaussianRestoration.of(GaussianPrior.natural(SIDE, 1), p)
    t = torch.tensor([0.9, 0.4], dtype=torch.float64)
    y = p.diffuse(pictures(2, SMALL), t, SeededNoise([1, 2]).normal(pictures(2, SMALL), 0, "measured"))

    def phi(y: Tensor, level: Tensor) -> Tensor:
        return exact.estimate(State(y, p.noise.time(level))).x0

    def degraded(y: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        now = p.mean(phi(y, level), p.noise.time(level))
        return now, (phi(y, level) - now) / p.noise.time(level)[:, None, None, None]

    wanted = DiracPrior(lambda y, level: (phi(y, level), None), p).estimate(State(y, t))
    found = DiracPrior(degraded, p, direct=False).estimate(State(y, t))
    assert torch.allclose(found.eps, wanted.eps, rtol=0, atol=1e-9)
    assert torch.allclose(found.x0, wanted.x0, rtol=0, atol=1e-12)  # with the secant for a rate, Taylor's is exact
    assert torch.allclose(wanted.eps, exact.estimate(State(y, t)).eps, rtol=0, atol=1e-9)
    assert found.rate is not None and wanted.rate is None
