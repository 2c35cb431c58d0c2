"""Where a method's model of the data is the truth, it samples the exact posterior; and on any process.

With white Gaussian data and a mask all is affine and diagonal in pixels: one run per draw, all ones in that draw and
zeros in the others, gives the sampler's mean and variance without any sampling.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from pellucid import methods
from pellucid.errors import CompatibilityError
from pellucid.loop import reconstruct
from pellucid.method import Method
from pellucid.noise import Noise
from pellucid.operators.mask import Mask
from pellucid.prior.gaussian import GaussianPrior, Pixels
from pellucid.problem import Problem
from pellucid.process import VE, DiscreteVP, Flow, Process

SHAPE = (1, 4, 4)
MU, STD, SIGMA = 0.2, 0.4, 0.1  # of the data and of the noise, in the prior's units
PROCESSES: dict[str, Process] = {
    "linear": DiscreteVP.linear(),
    "cosine": DiscreteVP.cosine(),
    "ve": VE(),
    "flow": Flow(t_max=0.9999),
}


@dataclass(frozen=True)
class Ones(Noise):
    """Image j has ones as its j-th draw, and zeros elsewhere; the last image has only zeros."""

    draws: Tensor

    def normal(self, like: Tensor, step: int, purpose: str) -> Tensor:
        which = 0 if purpose == "start" else 1 + step
        return (self.draws == which).to(like)[:, None, None, None].expand_as(like)

    def select(self, index: Tensor) -> Ones:
        return Ones(self.draws[index])


def white(process: Process) -> GaussianPrior:
    return GaussianPrior(torch.full(SHAPE, STD**2, dtype=torch.float64), MU, Pixels(), process)


def moments(process: Process, method: Method, steps: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean and variance of the result, then y and the mask, in the prior's units."""
    prior, operator = white(process), Mask.random(SHAPE, 0.4)
    truth = torch.linspace(0, 1, 16, dtype=torch.float64).reshape(1, *SHAPE)
    draws = torch.arange(steps + 2)
    problem = Problem(operator(truth).expand(len(draws), -1, -1, -1), operator, SIGMA / 2)
    x = prior.codec.encode(reconstruct(problem, prior, method, seeds=Ones(draws)).image)
    mask = operator(torch.ones_like(truth))[0]
    return x[-1], (x[:-1] - x[-1:]).square().sum(0), prior.codec.observe(problem).y[0], mask


@pytest.mark.parametrize(("name", "eta"), [("linear", 0.0), ("cosine", 1.0), ("ve", 0.0), ("flow", 1.0)])
def test_pigdm_samples_the_posterior_of_white_data(name: str, eta: float) -> None:
    """Its variance's error halves with the step, and in the limit of infinitely many steps is 0."""
    errors = []
    for steps in (125, 250, 500):
        method = methods.pigdm(nfe=steps, eta=eta, data_std=STD)
        mean, variance, y, mask = moments(PROCESSES[name], method, steps)
        gain = mask * STD**2 / (STD**2 + SIGMA**2)
        errors.append(variance / (STD**2 * (1 - gain)) - 1)
    assert float((mean - (MU + gain * (y - MU))).abs().max()) < 0.005
    coarse, middle, fine = errors
    assert float(fine.abs().max()) < 0.15
    assert float(((8 * fine - 6 * middle + coarse) / 3).abs().max()) < 0.02


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize(
    "method",
    [methods.dps(nfe=20), methods.diffpir(nfe=20), methods.dmps(nfe=200), methods.mcg(nfe=20), methods.ccdf(nfe=20)],
    ids=lambda method: method.name,
)
def test_methods_run_on_any_process(name: str, method: Method) -> None:
    mean, _, y, mask = moments(PROCESSES[name], method, 0)
    assert torch.isfinite(mean).all()
    residual, before = (mask * (mean - y)).abs().max(), (mask * (MU - y)).abs().max()
    assert float(residual) < 0.5 * float(before)


@pytest.mark.parametrize("method", [methods.ddnm(nfe=5), methods.ddrm(nfe=5), methods.ssd(nfe=8)], ids=lambda m: m.name)
def test_grids_of_whole_times_are_refused_elsewhere(method: Method) -> None:
    with pytest.raises(CompatibilityError, match="discrete process"):
        moments(Flow(), method, 0)
