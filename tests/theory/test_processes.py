"""Forward processes: the published tables, and inverses that invert."""

from __future__ import annotations

import math

import pytest
import torch

from pellucid.process import VE, DiscreteVP, Flow, Process
from tests.theory.test_transitions import PROCESSES, close
from tests.toys import ABAR

each_process = pytest.mark.parametrize("name", PROCESSES)
SHARES = torch.linspace(0.01, 1, 57, dtype=torch.float64)


def test_linear_table_is_ddpms_and_time_is_one_more_than_the_timestep() -> None:
    t = torch.arange(1, 1001, dtype=torch.float64)
    close(DiscreteVP.linear().alpha(t) ** 2, ABAR)
    close(DiscreteVP.linear().alpha(torch.zeros(1, dtype=torch.float64)), torch.ones(1, dtype=torch.float64))


def test_scaled_linear_table_is_latent_diffusions() -> None:
    betas = torch.linspace(math.sqrt(0.0015), math.sqrt(0.0195), 1000, dtype=torch.float64) ** 2
    t = torch.arange(1, 1001, dtype=torch.float64)
    close(DiscreteVP.scaled_linear().alpha(t) ** 2, torch.cumprod(1 - betas, 0))


def test_cosine_table_is_nichol_and_dhariwals() -> None:
    t = torch.arange(0, 990, dtype=torch.float64)  # beyond, betas are capped
    f = torch.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2
    close(DiscreteVP.cosine().alpha(t) ** 2, f / f[0])


def test_a_table_of_abar_gives_its_process_back() -> None:
    t = torch.arange(1, 1001, dtype=torch.float64)
    close(DiscreteVP.from_abar(ABAR).alpha(t) ** 2, ABAR)


@each_process
def test_time_at_snr_inverts_snr(name: str) -> None:
    process = PROCESSES[name]
    t = process.at_pace(SHARES)
    close(process.time_at_snr(process.snr(t)), t)
    close(process.time_at_ratio(process.ratio(t)), t)


@each_process
def test_noise_grows_with_time(name: str) -> None:
    process = PROCESSES[name]
    assert (process.ratio(process.at_pace(SHARES)).diff() > 0).all()
    assert float(process.ratio(torch.zeros(1, dtype=torch.float64))) == 0


@each_process
def test_pace_inverts_at_pace(name: str) -> None:
    process = PROCESSES[name]
    close(process.pace(process.at_pace(SHARES)), SHARES)
    assert float(process.at_pace(torch.ones(1, dtype=torch.float64))) == pytest.approx(process.t_max, rel=1e-12)


@each_process
def test_out_of_range_levels_are_clamped(name: str) -> None:
    process = PROCESSES[name]
    found = process.time_at_ratio(torch.tensor([0.0, 1e9], dtype=torch.float64))
    close(found, torch.tensor([0.0, process.t_max], dtype=torch.float64))


@each_process
def test_eps_undoes_diffuse(name: str) -> None:
    process = PROCESSES[name]
    x0, z = torch.randn(2, 3, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    t = process.at_pace(torch.tensor([0.2, 0.5, 1.0], dtype=torch.float64))
    close(process.eps(process.diffuse(x0, t, z), x0, t), z)
    assert not process.eps(x0 + z, x0, 0 * t).any()


@pytest.mark.parametrize("name", ["linear", "scaled-linear", "cosine"])
def test_variance_preserving(name: str) -> None:
    t = torch.tensor([0.0, 0.4, 17.25, 500.0, 1000.0], dtype=torch.float64)
    process: Process = PROCESSES[name]
    close(process.alpha(t) ** 2 + process.sigma(t) ** 2, torch.ones_like(t))


def test_ve_and_flow() -> None:
    t = torch.tensor([0.0, 0.3, 0.9], dtype=torch.float64)
    close(VE().alpha(t), torch.ones_like(t))
    close(VE().sigma(t), t)
    close(Flow().alpha(t), 1 - t)
    close(Flow().sigma(t), t)
