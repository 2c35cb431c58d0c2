"""Options out of range are refused when the method is built, by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from pellucid import methods
from pellucid.errors import CompatibilityError, ShapeError
from pellucid.grid import Leading, Uniform
from pellucid.loop import reconstruct
from pellucid.method import Method
from pellucid.operators import Mask
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.prior.gaussian import GaussianPrior
from pellucid.problem import Problem
from pellucid.process import DiscreteVP
from pellucid.transition import DDIM, Inversion

WRONG: dict[str, Callable[[], Method]] = {
    "t0": lambda: methods.ssd(t0=-0.5),
    "t0 ": lambda: methods.ssd(t0=2.0),
    "fraction": lambda: methods.ccdf(fraction=-1),
    "data_std": lambda: methods.pigdm(data_std=0),
    "sigma_d": lambda: methods.pnp_admm(sigma_d=0),
    "level": lambda: methods.mcg(level="zz"),  # type: ignore[arg-type]
    "at": lambda: methods.dmps(at="zz"),  # type: ignore[arg-type]
    "power": lambda: methods.diffpir(power=0),
    "lam": lambda: methods.diffpir(lam=-1),
    "scale": lambda: methods.dps(scale=-1),
    "zeta": lambda: methods.diffpir(zeta=-1),
    "rho": lambda: methods.admm_tv(rho=0),
    "travel length": lambda: methods.ddnm(travel_length=0, travel_repeat=2),
    "nfe": lambda: methods.pnp_admm(nfe=0),
    "3 calls or more": lambda: methods.ssd(nfe=1),
    "eta_b": lambda: methods.ddrm(eta_b=1.5),
    "climb": lambda: Method(Uniform(3), DDIM(), climb=Inversion(0.4)),
}


@pytest.mark.parametrize("name", WRONG)
def test_options_out_of_range_are_named(name: str) -> None:
    with pytest.raises(CompatibilityError, match=name.strip()):
        WRONG[name]()


def test_more_points_than_times_are_refused() -> None:
    problem = Problem(torch.rand(1, 3, 8, 8, dtype=torch.float64), Mask.random((3, 8, 8)))
    with pytest.raises(CompatibilityError, match="at most 1000"):
        reconstruct(problem, GaussianPrior.natural(8), methods.ddnm(nfe=1001))


def test_leading_covers_the_schedule_for_any_number_of_points() -> None:
    start = torch.tensor([Leading(30).top(DiscreteVP.linear())], dtype=torch.float64)
    times = Leading(30).times(DiscreteVP.linear(), start).flatten()
    assert len(times) == 31 and times[0] == 967 and times[-2:].tolist() == [1, 0]
    assert (times.diff() < 0).all()


@pytest.mark.parametrize(("steps", "power"), [(100, 2.0), (1000, 1.0), (999, 2.0)])
def test_whole_times_do_not_merge(steps: int, power: float) -> None:
    times = Uniform(steps, power).times(DiscreteVP.linear(), torch.tensor([1000.0], dtype=torch.float64)).flatten()
    assert len(times) == steps + 1 and (times.diff() < 0).all()


def test_stopping_at_the_last_step_changes_nothing() -> None:
    problem = Problem(torch.rand(2, 3, 8, 8, dtype=torch.float64), Mask.random((3, 8, 8)), 0.05)
    prior, method = GaussianPrior.natural(8), methods.dps(nfe=10)
    whole = reconstruct(problem, prior, method)
    cut = reconstruct(problem, prior, method, callback=lambda step: step.index == 9)
    assert cut.complete and torch.equal(cut.image, whole.image)


def test_a_prior_refuses_pictures_of_other_channels() -> None:
    prior = DiffusionPrior(lambda x, t: x, predicts="x0", channels=3)
    for channels in (2, 4):
        shape = (channels, 8, 8)
        with pytest.raises(ShapeError, match="channels"):
            reconstruct(Problem(torch.rand(1, *shape), Mask.random(shape)), prior, methods.ddnm(nfe=2))
