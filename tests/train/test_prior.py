"""The trainer: it learns, resumes exactly, and refuses bad configurations."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid.errors import ConfigError
from pellucid.nn.edm import EDMDenoiser
from pellucid.nn.unet import UNet
from pellucid.train.config import PriorConfig
from pellucid.train.data import Photographs
from pellucid.train.export import denoising_psnr
from pellucid.train.prior import PowerEMA, PriorTrainer, lr_factor, training_batch

NETWORK = {"widths": [8, 16], "blocks": [1, 1], "heads": 1, "embedding": 16}


@pytest.fixture
def config(tmp_path: Path) -> PriorConfig:
    data = tmp_path / "data"
    data.mkdir()
    ramp = np.add.outer(np.arange(96), 2 * np.arange(80)) % 256
    for k in range(3):
        Image.fromarray(np.stack([np.roll(ramp, 9 * k, 0)] * 3, -1).astype(np.uint8)).save(data / f"{k}.png")
    return PriorConfig(
        data=data, out=tmp_path / "run", steps=12, pixels=2 * 32 * 32, crops=(16, 32), crop_odds=(0.5, 0.5), warmup=2,
        checkpoint_every=4, sample_every=0, precision="no", threads=1, network=NETWORK,
    )  # fmt: skip


def losses(trainer: PriorTrainer, until: int | None = None) -> list[float]:
    seen: list[float] = []
    trainer.train(lambda step, loss, rate: seen.append(loss), until)
    return seen


def test_an_interrupted_run_continues_with_the_same_losses(config: PriorConfig, tmp_path: Path) -> None:
    whole = losses(PriorTrainer(config))
    interrupted = dataclasses.replace(config, out=tmp_path / "other")
    first = losses(PriorTrainer(interrupted), until=6)  # dies after step 6; the last checkpoint is of step 4
    rest = losses(PriorTrainer(interrupted))
    assert len(whole) == 12 and len(first) == 6 and len(rest) == 8
    assert first == whole[:6] and rest == whole[4:]


def test_a_batch_depends_on_seed_step_and_rank_alone(config: PriorConfig) -> None:
    data = Photographs(config.data)
    once, again = (training_batch(data, config, 5, 0) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not torch.equal(once[0], training_batch(data, config, 6, 0)[0][: len(once[0]), :, :16, :16])
    assert not torch.equal(once[1], training_batch(data, config, 5, 1)[1])


def test_training_lowers_the_loss_on_a_fixed_batch(config: PriorConfig) -> None:
    trainer = PriorTrainer(dataclasses.replace(config, steps=150, lr=3e-3, warmup=10, checkpoint_every=150))
    x0, _, noise = training_batch(trainer.data, config, 10**6, 0)
    level = torch.full((len(x0),), 0.2)
    with torch.no_grad():
        before = trainer.raw.loss(x0, level, noise).mean()
    trainer.train()
    with torch.no_grad():
        assert trainer.ema_denoiser().loss(x0, level, noise).mean() < 0.9 * before


def test_a_sample_grid_is_drawn(config: PriorConfig) -> None:
    drawing = dataclasses.replace(config, steps=2, sample_every=2)
    losses(PriorTrainer(drawing))
    with Image.open(config.out / "samples" / "0000002.png") as grid:
        assert grid.size == (192, 192)


def test_damaged_pictures_are_left_out_with_a_warning(config: PriorConfig) -> None:
    (config.data / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    with pytest.warns(UserWarning, match=r"broken\.jpg left out"):
        assert len(Photographs(config.data).images) == 3


def test_another_network_does_not_take_the_checkpoint(config: PriorConfig) -> None:
    losses(PriorTrainer(config), until=4)
    other = dataclasses.replace(config, network={**NETWORK, "widths": [8, 24]})
    with pytest.raises(ConfigError, match="another network"):
        PriorTrainer(other).train()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('data = "d"\nout = "o"\nsteeps = 3', "unknown key 'steeps'"),
        ('out = "o"', "key 'data' is missing"),
        ("data = ", "cannot read"),
        ('data = "d"\nout = "o"\nprecision = "fp8"', "precision"),
        ('data = "d"\nout = "o"\ncrops = [64]', "same length"),
    ],
)
def test_bad_configurations_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        PriorConfig.load(path)


def test_learning_rate_rises_then_falls_to_zero(config: PriorConfig) -> None:
    factors = [lr_factor(step, config) for step in range(config.steps + 1)]
    assert factors[0] == 0.5 and max(factors) == 1.0 and factors[-1] == 0.0
    assert all(a >= b for a, b in pairwise(factors[2:]))


def test_power_ema_is_the_weighted_mean_of_the_power_law() -> None:
    ema = PowerEMA([torch.zeros(1, dtype=torch.float64)], 0.1)
    for step in range(1, 201):
        ema.update([torch.full((1,), float(step), dtype=torch.float64)], step)
    k = torch.arange(1, 201, dtype=torch.float64)
    weights = (k ** (ema.gamma + 1)).diff(prepend=torch.zeros(1, dtype=torch.float64))
    assert float(ema.values[0]) == pytest.approx(float((weights * k).sum() / weights.sum()), rel=1e-9)


def test_denoising_psnr_of_the_identity_is_the_noise_level() -> None:
    pictures = torch.full((2, 3, 64, 64), 0.5)
    scores = denoising_psnr(lambda x, sigma: x, pictures, 25)
    assert scores == pytest.approx([-20 * np.log10(25 / 255)] * 2, abs=0.1)


def test_preconditioned_loss_is_the_denoising_error_in_units_of_c_out() -> None:
    torch.manual_seed(0)
    denoiser = EDMDenoiser(UNet(**NETWORK))
    torch.nn.init.normal_(denoiser.network.head.weight, std=0.1)
    x0, n, sigma = torch.rand(3, 3, 16, 16) * 2 - 1, torch.randn(3, 3, 16, 16), torch.tensor([0.05, 0.5, 20.0])
    error = (denoiser(x0 + sigma[:, None, None, None] * n, sigma) - x0).square().flatten(1).mean(1)
    c_out = denoiser.coefficients(sigma)[1]
    assert torch.allclose(denoiser.loss(x0, sigma, n), error / c_out**2, rtol=1e-3)
