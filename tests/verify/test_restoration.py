"""Dirac's exact prior against brute force, and the method with it against the exact posterior."""

from __future__ import annotations

import pytest
import torch

from pellucid.degradation import Degradation
from pellucid.errors import CompatibilityError, NeedsCapability
from pellucid.methods import METHODS, get
from pellucid.operators import Bicubic, GaussianBlur, Identity, LinearOperator, Mask
from pellucid.operators.families import BlurFamily, JPEGFamily
from pellucid.prior.base import State
from pellucid.prior.gaussian import GaussianPrior, MixturePrior
from pellucid.problem import Problem
from pellucid.verify.report import Case, verify
from pellucid.verify.restoration import Fading, GaussianRestoration, restoration
from pellucid.verify.suite import _entry
from pellucid.verify.table import page

SIDE = 6
SHAPE = (2, SIDE, SIDE)


def prior(mean: float = 0.4) -> GaussianPrior:
    return GaussianPrior.natural(SIDE, channels=2, mean=mean, std=0.2)


def rows(operator: LinearOperator) -> torch.Tensor:
    n = 2 * SIDE * SIDE
    return operator(torch.eye(n, dtype=torch.float64).reshape(n, *SHAPE)).flatten(1).T


@pytest.mark.parametrize("t", [0.0, 0.35, 1.0])
def test_it_is_the_posterior_mean_of_dense_algebra(t: float) -> None:
    """Also with a time per image, and with derivatives; the law of y_t with it."""
    process = Degradation(BlurFamily(SHAPE, (0.3, 1.5), identity_below=0.0))
    exact = GaussianRestoration.of(prior(), process)
    n = 2 * SIDE * SIDE
    c = prior().covariance(torch.eye(n, dtype=torch.float64).reshape(n, *SHAPE)).flatten(1) / 4
    operator = process.family(SHAPE).at(t)
    assert isinstance(operator, LinearOperator)
    a, sigma = rows(operator), float(process.sigma(torch.tensor(t, dtype=torch.float64)))
    mu = torch.full((n,), 0.4, dtype=torch.float64)
    spread = a @ c @ a.T + sigma**2 * torch.eye(n, dtype=torch.float64)
    gain = c @ a.T @ torch.linalg.inv(spread)
    y = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = mu + (y.flatten(1) - a @ mu) @ gain.T
    times = torch.tensor([t, t], dtype=torch.float64)
    found = exact.estimate(State(y, times), differentiable=True)
    assert torch.allclose(found.x0.flatten(1), wanted, atol=1e-9)
    assert found.vjp is not None
    assert torch.allclose(found.vjp(y).flatten(1), y.flatten(1) @ gain, atol=1e-9)
    half = n // 2
    assert torch.allclose(exact.gain(t), gain[:half, :half], atol=1e-9)
    assert torch.allclose(exact.marginal(t)[1], spread[:half, :half], atol=1e-12)
    assert torch.allclose(exact.marginal(t)[0].flatten(), a @ mu, atol=1e-12)
    mixed = exact.estimate(State(y, torch.tensor([t, 0.6], dtype=torch.float64))).x0
    assert torch.allclose(mixed[0].flatten(), wanted[0], atol=1e-9) and not torch.allclose(mixed[1], found.x0[1])


def test_what_has_no_exact_restoration_is_refused() -> None:
    blur = GaussianBlur((3, 8, 8), 1.0)
    y = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    natural = GaussianPrior.natural(8)
    with pytest.raises(NeedsCapability, match="Bicubic makes none"):
        restoration(natural, Problem(torch.rand(1, 3, 2, 2, dtype=torch.float64), Bicubic((3, 8, 8), 4), 0.05))
    with pytest.raises(CompatibilityError, match="not for a mixture"):
        restoration(MixturePrior([natural]), Problem(y, blur, 0.05))
    with pytest.raises(CompatibilityError, match="here is none"):
        restoration(natural, Problem(y, blur, 0.0))
    state = State(y, torch.ones(1, dtype=torch.float64))
    with pytest.raises(CompatibilityError, match="linear degradations"):
        GaussianRestoration.of(natural, Degradation(JPEGFamily((3, 8, 8)))).estimate(state)
    with pytest.raises(CompatibilityError, match="all channels alike"):
        GaussianRestoration.of(natural, Degradation(Fading(Channels((3, 8, 8))))).estimate(state)


class Channels(LinearOperator):
    """The mean of the channels, in each of them."""

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(1, keepdim=True).expand_as(x)

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self._forward(y)


@pytest.mark.parametrize("t", [0.0, 0.4, 1.0])
def test_fading_is_a_straight_line_to_the_operator(t: float) -> None:
    mask = Mask.random(SHAPE, 0.5)
    family = Fading(mask)
    x, y = torch.rand(2, 3, *SHAPE, dtype=torch.float64)
    part = family.at(t)
    assert isinstance(part, LinearOperator)
    assert torch.allclose(part(x), (1 - t) * x + t * mask(x))
    assert float((part(x) * y).sum()) == pytest.approx(float((x * part.adjoint(y)).sum()), rel=1e-12)
    assert family.time_of(part) == pytest.approx(t)
    assert family.time_of(mask) == 1 and family.time_of(Identity(SHAPE)) is None


def test_dirac_draws_from_the_exact_posterior() -> None:
    """From y alone, without guidance: means within 1.2 dB at 50 calls, and the spread and coverage near exact."""
    for operator in (Identity((3, 16, 16)), Mask.box((3, 16, 16), 8), GaussianBlur((3, 16, 16), 1.5)):
        found = verify(get("dirac").build(), operator, 0.05, 16)
        assert found.gap < 1.2 and found.nfe == 50
        assert 0.7 < found.spread < 1.05 and 0.87 < found.coverage_90 < 0.95


def test_the_suite_says_what_dirac_cannot_do() -> None:
    cases = {
        "bicubic x4": Case.make(GaussianPrior.natural(16), Bicubic((3, 16, 16), 4), 0.05),
        "denoise": Case.make(GaussianPrior.natural(16), Identity((3, 16, 16)), 0.05),
    }
    presets = (METHODS["dirac"], METHODS["pinv"])
    entries = [_entry(case, problem, preset, 0.05) for problem, case in cases.items() for preset in presets]
    assert entries[0].verdict is None and "degradations of pictures" in entries[0].refusal
    assert entries[2].verdict is not None and entries[2].verdict.gap < 1.2
    text = page(entries, 16, 16, "x")
    (line,) = (line for line in text.splitlines() if line.startswith("| dirac"))
    assert "cannot" in line and line.endswith("| 50 |") and "straight line" in text
