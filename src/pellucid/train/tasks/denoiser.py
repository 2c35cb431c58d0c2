"""Training of a blind residual denoiser, for plug-and-play methods."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.metrics.pixels import psnr
from pellucid.nn.blind import make_denoiser
from pellucid.train.config import DenoiserConfig
from pellucid.train.tasks.base import LEVELS, NOISE, Batch, Task, draw_noise


class DenoiserTask(Task):
    """x_0 from x_0 + sigma n without being told sigma; Zhang et al., IEEE TIP 2017 (DnCNN-B)."""

    kind = "denoiser"
    training = "denoiser"
    config: DenoiserConfig

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__(config)
        torch.manual_seed(config.seed)
        self.model = make_denoiser({"channels": config.channels, **config.network})
        self.objectives = {"denoiser": DenoisingObjective(self.model)}

    def signature(self) -> dict[str, Any]:
        return {"network": self.config.network, "channels": self.config.channels}

    def card(self, model: nn.Module) -> dict[str, Any]:
        return {"network": {"channels": self.config.channels, **self.config.network}, "range": "pictures in [0, 1]"}

    def batch(self, step: int, slot: int) -> Batch:
        x = self.pictures(step, slot)
        rng = np.random.default_rng([self.config.seed, step, slot, LEVELS])
        level = torch.from_numpy(rng.uniform(*self.config.noise, len(x)) / 255).float()
        return {"x": x, "noisy": x + level[:, None, None, None] * draw_noise(x, self.generator(step, slot, NOISE))}

    def validate(self, model: nn.Module) -> dict[str, float]:
        pictures = self.held_out()
        if pictures is None:
            return {}
        return {f"psnr_{level}": float(np.mean(blind_psnr(model, pictures, level))) for level in (15, 25, 50)}

    def sample(self, model: nn.Module) -> Tensor | None:
        batch = self.batch(0, 10**6)
        noisy = batch["noisy"][:4].to(next(model.parameters()).device)
        with torch.no_grad():
            return torch.cat([noisy, model(noisy)])


class DenoisingObjective(nn.Module):
    """|x_0 - D(x_0 + sigma n)|^2, mean over pixels, times a constant that keeps it of order one."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, noisy: Tensor) -> Tensor:
        loss: Tensor = 100 * (self.model(noisy).float() - x).square().mean()
        return loss


def blind_psnr(model: nn.Module, pictures: Tensor, level: int, seed: int = 0) -> list[float]:
    """PSNR in dB of D(x + n) for pictures in [0, 1], n of standard deviation level / 255, nothing clipped."""
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(seed))
    device = next(model.parameters()).device
    scores = []
    for x, n in zip(pictures, noise, strict=True):
        with torch.no_grad():
            clean = model((x + level / 255 * n)[None].to(device)).cpu()
        scores.append(float(psnr(clean, x[None], clip=False)))
    return scores
