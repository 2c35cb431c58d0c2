"""Sampling without a measurement gives the prior back: mean and covariance, exactly computed, for every process.

With a Gaussian prior the sampler is affine in its draws and diagonal in the prior's basis. So one run per draw, that
draw a unit impulse in every eigendirection and the others zero, tells the sampler's covariance without any sampling.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from pellucid import methods
from pellucid.loop import reconstruct
from pellucid.noise import Noise
from pellucid.operators.mask import Mask
from pellucid.prior.gaussian import GaussianPrior
from pellucid.problem import Problem
from pellucid.process import VE, DiscreteVP, Flow, Process

SIZE = 4
PROCESSES: dict[str, Process] = {
    "linear": DiscreteVP.linear(),
    "cosine": DiscreteVP.cosine(),
    "ve": VE(),
    "flow": Flow(t_max=0.9999),
}


@dataclass(frozen=True)
class Impulses(Noise):
    """Image j has an impulse as its j-th draw, and zeros elsewhere; the last image has only zeros."""

    draws: Tensor

    def normal(self, like: Tensor, step: int, purpose: str) -> Tensor:
        which = 0 if purpose == "start" else 1 + step
        impulse = torch.zeros_like(like[0])
        impulse[..., 0, 0] = SIZE  # 1 in every direction of the unitary Fourier basis
        return torch.where((self.draws == which)[:, None, None, None], impulse, 0)

    def select(self, index: Tensor) -> Impulses:
        return Impulses(self.draws[index])


def moments(process: Process, steps: int, eta: float) -> tuple[GaussianPrior, Tensor, Tensor]:
    """The prior, and mean and spectrum of what the sampler makes of it, in the prior's units."""
    prior = GaussianPrior.natural(SIZE, 1, mean=0.6, process=process)
    operator = Mask((1, SIZE, SIZE), torch.ones(SIZE, SIZE))
    draws = torch.arange(steps + 2)
    y = torch.zeros(len(draws), 1, SIZE, SIZE, dtype=torch.float64)
    method = methods.unconditional(nfe=steps, eta=eta)
    result = reconstruct(Problem(y, operator), prior, method, seeds=Impulses(draws))
    x = prior.codec.encode(result.image)
    response = prior.basis.to(x[:-1] - x[-1:])
    return prior, x[-1], (response.abs() ** 2).sum(0)


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("eta", [0.0, 1.0], ids=["ddim", "ddpm"])
def test_mean_and_covariance(name: str, eta: float) -> None:
    """The relative error of every eigenvalue halves with the step, and its limit for infinitely many steps is 0."""
    runs = [moments(PROCESSES[name], steps, eta) for steps in (125, 250, 500)]
    prior, mean, _ = runs[-1]
    coarse, middle, fine = (spectrum / prior.spectrum - 1 for *_, spectrum in runs)
    for ratio in (coarse / middle, middle / fine):
        assert float(ratio.min()) > 1.5
        assert float(ratio.max()) < 2.2
    assert float(fine.abs().max()) < 0.1
    assert float(((8 * fine - 6 * middle + coarse) / 3).abs().max()) < 0.02
    assert float((mean - prior.mean).abs().max()) < 0.003
