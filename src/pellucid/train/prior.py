"""Training of a pixel prior: accelerate, power-law EMA, bf16 autocast, exact resume."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from pellucid.errors import ConfigError
from pellucid.nn.edm import EDMDenoiser
from pellucid.nn.unet import UNet
from pellucid.train.config import PriorConfig
from pellucid.train.data import Photographs
from pellucid.train.samples import sample_grid

Report = Callable[[int, float, float], None]


class PowerEMA:
    """Average of the weights over the last `share` of the steps, whatever their number.

    beta_k = (1 - 1/k)^(gamma + 1), with gamma from the relative width `share` (Karras et al., CVPR 2024, eq. 2 and
    121).
    """

    def __init__(self, parameters: list[Tensor], share: float) -> None:
        self.values = [p.detach().clone() for p in parameters]
        # Width of the power-law profile, sigma_rel^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3)), solved for gamma.
        roots = np.roots([1, 7, 16 - share**-2, 12 - share**-2])
        self.gamma = float(roots.real.max())

    def update(self, parameters: list[Tensor], step: int) -> None:
        beta = (1 - 1 / step) ** (self.gamma + 1)
        torch._foreach_lerp_(self.values, [p.detach() for p in parameters], 1 - beta)


def lr_factor(step: int, config: PriorConfig) -> float:
    """Linear warm-up, then linear decay to zero at the last step."""
    return min(
        (step + 1) / max(1, config.warmup), max(0.0, (config.steps - step) / max(1, config.steps - config.warmup)), 1.0
    )


def draw_sigma(count: int, config: PriorConfig, rng: np.random.Generator) -> Tensor:
    """Noise levels in units of [-1, 1]: log-normal around photographs' useful levels, sometimes anything."""
    narrow = rng.normal(config.sigma_mean, config.sigma_std, count)
    wide = rng.uniform(math.log(0.01), math.log(160.0), count)
    ln_sigma = np.where(rng.random(count) < config.sigma_wide, wide, narrow)
    return torch.from_numpy(np.exp(ln_sigma).clip(0.002, 200.0)).float()


def training_batch(data: Photographs, config: PriorConfig, step: int, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """(x_0, sigma, noise) of one step: a function of (seed, step, rank) alone."""
    side_rng = np.random.default_rng([config.seed, step, 1])  # every process takes the same crop side
    size = int(side_rng.choice(config.crops, p=np.array(config.crop_odds) / sum(config.crop_odds)))
    count = max(1, config.pixels // size**2)
    x0 = data.batch(count, size, seed=config.seed, step=step, rank=rank)
    sigma = draw_sigma(count, config, np.random.default_rng([config.seed, step, rank, 2]))
    generator = torch.Generator().manual_seed(
        int(np.random.SeedSequence([config.seed, step, rank, 3]).generate_state(1)[0])
    )
    return x0, sigma, torch.randn(x0.shape, generator=generator)


class _Loss(nn.Module):
    """The loss as a forward pass, which is what a distributed wrapper hooks into."""

    def __init__(self, denoiser: EDMDenoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, x0: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
        return self.denoiser.loss(x0, sigma, noise).mean()


class PriorTrainer:
    """One run: `train()` goes from the last checkpoint in `config.out`, if there is one, to the last step."""

    def __init__(self, config: PriorConfig) -> None:
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.config = config
        self.accelerator = Accelerator(mixed_precision=config.precision)
        self.data = Photographs(config.data)
        network = UNet(**config.network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.raw = EDMDenoiser(network)
        self.model = self.accelerator.prepare_model(_Loss(self.raw))  # several processes average gradients in here
        self.optimiser = torch.optim.Adam(self.raw.parameters(), lr=config.lr, betas=(0.9, 0.99), fused=True)
        self.ema = PowerEMA(list(self.raw.parameters()), config.ema)
        self.step, self.seconds = 0, 0.0

    def train(self, report: Report | None = None, until: int | None = None) -> None:
        """Runs to the last step, or to `until`, saving checkpoints; calls `report(step, loss, crops_per_second)`."""
        self.resume()
        config, device = self.config, self.accelerator.device
        while self.step < min(config.steps, until or config.steps):
            start = time.perf_counter()
            batch = training_batch(self.data, config, self.step, self.accelerator.process_index)
            x0, sigma, noise = (part.to(device) for part in batch)
            for group in self.optimiser.param_groups:
                group["lr"] = config.lr * lr_factor(self.step, config)
            with self.accelerator.autocast():
                loss = self.model(x0.contiguous(memory_format=torch.channels_last), sigma, noise)
            self.accelerator.backward(loss)
            torch.nn.utils.clip_grad_norm_(self.raw.parameters(), config.clip)
            self.optimiser.step()
            self.optimiser.zero_grad(set_to_none=True)
            self.step += 1
            self.ema.update(list(self.raw.parameters()), self.step)
            elapsed = time.perf_counter() - start
            self.seconds += elapsed
            if report:
                report(self.step, float(loss.detach()), len(x0) / elapsed)
            if self.step % config.checkpoint_every == 0 or self.step == config.steps:
                self.save()
            if config.sample_every and self.step % config.sample_every == 0 and self.accelerator.is_main_process:
                sample_grid(self.ema_denoiser(), config.out / "samples" / f"{self.step:07d}.png")

    @property
    def checkpoint(self) -> Path:
        return self.config.out / "checkpoint.pt"

    def state(self) -> dict[str, Any]:
        return {
            "model": self.raw.state_dict(),
            "ema": self.ema.values,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "network": self.raw.network.config,
        }

    def save(self) -> None:
        """Writes the checkpoint beside the old one, then renames: a kill at any moment leaves a whole file."""
        if not self.accelerator.is_main_process:
            return
        self.config.out.mkdir(parents=True, exist_ok=True)
        resolved = {k: str(v) if isinstance(v, Path) else v for k, v in dataclasses.asdict(self.config).items()}
        (self.config.out / "config.json").write_text(json.dumps(resolved, indent=2))
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(self.state(), partial)
        os.replace(partial, self.checkpoint)

    def resume(self) -> None:
        """Takes up the last checkpoint if there is one.

        Raises:
            ConfigError: the checkpoint belongs to another network.
        """
        if not self.checkpoint.exists():
            return
        saved = torch.load(self.checkpoint, map_location=self.accelerator.device, weights_only=True)
        if saved["network"] != self.raw.network.config:
            raise ConfigError(f"{self.checkpoint} belongs to another network; choose another 'out' folder")
        self.raw.load_state_dict(saved["model"])
        self.optimiser.load_state_dict(saved["optimiser"])
        for value, old in zip(self.ema.values, saved["ema"], strict=True):
            value.copy_(old)
        self.step, self.seconds = saved["step"], saved["seconds"]

    def ema_denoiser(self) -> EDMDenoiser:
        """The averaged weights as a denoiser of their own."""
        denoiser = EDMDenoiser(UNet(**self.config.network), self.raw.sigma_data).to(self.accelerator.device)
        with torch.no_grad():
            for parameter, value in zip(denoiser.parameters(), self.ema.values, strict=True):
                parameter.copy_(value)
        return denoiser.eval()
