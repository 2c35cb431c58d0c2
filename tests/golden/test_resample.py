"""ReSample's resampling and its two optimisers replay what the published code computed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pellucid.consistency.resampling import Resampling
from pellucid.operators.resize import BlockAverage
from pellucid.optimise.adamw import AdamW
from pellucid.optimise.misfit import LatentMisfit, PixelMisfit
from pellucid.problem import Problem
from pellucid.process import DiscreteVP
from tests.golden.data import load, tensor, worst
from tests.latent import ToyAutoencoder, codec


@pytest.mark.parametrize(("case", "t", "s"), [(0, 600, 580), (1, 200, 180), (2, 999, 979), (3, 20, 0)])
def test_stochastic_resampling(case: int, t: int, s: int) -> None:
    found = load("trace_resample_stochastic_resample")
    process, rule = DiscreteVP.scaled_linear(), Resampling(form="released", per=None)
    times = torch.tensor([t + 1.0], dtype=torch.float64), torch.tensor([s + 1.0], dtype=torch.float64)
    assert float(rule.variance(process, *times)) == pytest.approx(float(found[f"sigma_{case}"]), rel=1e-5)
    z = rule(process, *times, *(tensor(found[name]) for name in ("pseudo_x0", "x_t", f"noise_{case}")))
    assert worst(z, found[f"out_{case}"]) < 1e-5


def _problem(found: dict) -> tuple[Problem, Tensor]:
    operator = BlockAverage((3, 16, 16), 4)
    return Problem((tensor(found["y"]) + 1) / 2, operator), torch.zeros(1, dtype=torch.float64)


@pytest.mark.parametrize("steps", [1, 5, 50])
def test_pixel_optimisation(steps: int) -> None:
    found = load("trace_resample_optim")
    problem, goal = _problem(found)
    v = AdamW(steps, 1e-2)(PixelMisfit(problem), tensor(found["x_init"]), goal + 1e-6)
    assert worst(v, found[f"pixel_{steps}"]) < 1e-5


@pytest.mark.parametrize("steps", [1, 5, 50])
def test_latent_optimisation(steps: int) -> None:
    found = load("trace_resample_optim")
    problem, goal = _problem(found)
    misfit = LatentMisfit(problem, codec(ToyAutoencoder()))
    z = AdamW(steps, 5e-3, window=200)(misfit, tensor(found["z_init"]), goal + 1e-6)
    assert worst(z, found[f"latent_{steps}"]) < 1e-5
    assert float(misfit(tensor(found["z_init"]))) == pytest.approx(float(found["latent_init_loss"]), rel=1e-5)
