"""Flash-Diffusion's start and severity encoder, as the published code computes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pellucid.grid import LatentDiffusion
from pellucid.noise import RecordedNoise
from pellucid.operators.diagonal import Identity
from pellucid.prior.base import Prior
from pellucid.problem import Observation, Problem
from pellucid.process import DiscreteVP
from pellucid.start.severity import Severity
from tests.golden.data import load, meta, tensor, worst
from tests.latent import toy_latent_prior


@dataclass(frozen=True)
class Told:
    """What the recorded encoder said, its variance times the recorded factor."""

    z: Tensor
    s2: Tensor

    def __call__(self, observation: Observation, prior: Prior) -> tuple[Tensor, Tensor]:
        return self.z, self.s2


def test_start() -> None:
    """z_start and the matched index of 100 DDIM times, with and without correction noise and a factor on s2."""
    trace = load("trace_flash_start")
    z, prior = tensor(trace["z_mean"]), toy_latent_prior()
    prior.process = DiscreteVP.scaled_linear()
    grid = LatentDiffusion(100)
    abar = prior.process.alpha(grid.points(prior.process)[:-1].flip(0)) ** 2
    assert np.abs(abar.numpy() - trace["ddim_alphas"]).max() < 1e-6
    problem = Problem(torch.zeros(1, 3, 16, 16, dtype=torch.float64), Identity((3, 16, 16)))
    observation = prior.codec.observe(problem)
    cases = meta(trace)["cases_var_varmult_corrmult"]
    assert isinstance(cases, list)
    for k, (_, _, c) in enumerate(cases):
        start = Severity(Told(z, tensor(trace[f"var_{k}"])), "paper", c or 0.0, grid)
        draw = trace.get(f"noise_{k}", np.zeros_like(trace["z_mean"]))  # none where nothing was added
        noise = RecordedNoise({(0, "start"): tensor(draw)})
        state = start(observation, prior, noise, torch.tensor([1000.0], dtype=torch.float64))
        assert state.t.item() == 2 + 10 * int(trace[f"t_{k}"])
        assert worst(state.x, trace[f"z_start_{k}"]) < 1e-6
