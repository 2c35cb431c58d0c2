"""Training of a network y -> x for one degradation or a family of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.metrics.pixels import psnr
from pellucid.nn.estimator import make_estimator
from pellucid.nn.resampling import begin_as_interpolation
from pellucid.operators.shown import upscaling
from pellucid.train.config import SupervisedConfig
from pellucid.train.degradation import Degradation
from pellucid.train.tasks.base import DEGRADATION, Batch, Task


class SupervisedTask(Task):
    """min E |x - F(y)|: SwinIR (Liang et al., ICCVW 2021), or a UNet, after A^+ or `fbp` where y is no picture."""

    kind = "estimator"
    training = "supervised"
    config: SupervisedConfig

    def __init__(self, config: SupervisedConfig) -> None:
        super().__init__(config)
        torch.manual_seed(config.seed)
        self.degradation = Degradation(config.operator, config.noise)
        side = min(config.crops)
        self.scale = upscaling(self.degradation.operator((config.channels, side, side), np.random.default_rng(0))) or 1
        self.network = {"class": config.kind, "channels": config.channels, "scale": self.scale, **config.network}
        self.model = make_estimator(self.network)
        if config.kind == "swinir":
            begin_as_interpolation(self.model)
        self.objectives = {"estimator": EstimationObjective(self.model, config.loss)}

    def signature(self) -> dict[str, Any]:
        return {"network": self.network}

    def card(self, model: nn.Module) -> dict[str, Any]:
        takes = {"operator": self.config.operator, "noise": list(self.config.noise)}
        return {"network": self.network, "range": "pictures in [0, 1]", "takes": takes}

    def batch(self, step: int, slot: int) -> Batch:
        x = self.pictures(step, slot)
        rng = np.random.default_rng([self.config.seed, step, slot, DEGRADATION])
        return {"x": x, "y": self.degradation.measure(x, rng)[1]}

    def validate(self, model: nn.Module) -> dict[str, float]:
        pictures = self.held_out()
        if pictures is None:
            return {}
        after, before = estimation_psnr(model, self.degradation, pictures)
        return {"psnr": float(np.mean(after)), "psnr_input": float(np.mean(before))}

    def sample(self, model: nn.Module) -> Tensor | None:
        batch = self.batch(0, 10**6)
        y = batch["y"][:4].to(next(model.parameters()).device)
        with torch.no_grad():
            return torch.cat([enlarged(y, self.scale), model(y)])


class EstimationObjective(nn.Module):
    """Mean absolute (or squared) error of F(y)."""

    def __init__(self, model: nn.Module, loss: str) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        out = self.model(y).float()
        return F.l1_loss(out, x) if self.loss == "l1" else 100 * F.mse_loss(out, x)


def estimation_psnr(
    model: nn.Module, degradation: Degradation, pictures: Tensor, seed: int = 0
) -> tuple[list[float], list[float]]:
    """PSNR in dB (clipped to [0, 1]) of F(y), and of what F was shown, bicubically enlarged; one picture at a time."""
    device = next(model.parameters()).device
    after: list[float] = []
    before: list[float] = []
    for k, x in enumerate(pictures):
        shown = degradation.measure(x[None], np.random.default_rng([seed, k]))[1]
        with torch.no_grad():
            estimate = model(shown.to(device)).cpu()
        plain = enlarged(shown, x.shape[-1] // shown.shape[-1])
        for scores, picture in ((after, estimate), (before, plain)):
            scores.append(float(psnr(picture, x[None])))
    return after, before


def enlarged(y: Tensor, scale: int) -> Tensor:
    """Bicubic enlargement, (b, c, h, w) -> (b, c, scale h, scale w)."""
    return y if scale == 1 else F.interpolate(y, scale_factor=scale, mode="bicubic", antialias=False)
