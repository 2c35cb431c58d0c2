"""Training of a head that tells an operator's parameters from the measurement, on a severity encoder's features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.blind import Family, features
from pellucid.errors import ConfigError
from pellucid.metrics.association import pearson
from pellucid.nn.parameter import ParameterHead, moments
from pellucid.nn.severity import SeverityEncoder
from pellucid.operators.shown import picture_input, upscaling
from pellucid.operators.text import parse
from pellucid.train.config import ParameterConfig
from pellucid.train.degradation import Degradation
from pellucid.train.tasks.base import DEGRADATION, Batch, Task
from pellucid.zoo import find, load_module

REPEATS = 8  # degradations of every held-out picture


class ParameterTask(Task):
    """min E |u - head(features(y))|^2, u the operator's parameters as shares of their ranges; the encoder is frozen."""

    kind = "parameter"
    training = "parameter"
    config: ParameterConfig

    def __init__(self, config: ParameterConfig) -> None:
        super().__init__(config)
        torch.manual_seed(config.seed)
        self.degradation, self.family = Degradation(config.operator, config.noise), Family(config.operator)
        if not self.family.ranges:
            raise ConfigError(f"{config.operator!r} has no range: say where the parameter lies, as in std=0.3..3")
        self._check_shapes()
        network, card = load_module(config.encoder, "severity")
        if not isinstance(network, SeverityEncoder):
            raise ConfigError(f"{config.encoder} estimates pixels; a head needs a severity encoder of latents")
        if config.channels not in (1, network.config["channels"]):
            raise ConfigError(f"{config.encoder} takes pictures of {network.config['channels']} channels")
        self.encoder, self.encoder_sha256 = network, card.data.get("sha256")
        words = {"features": network.config["widths"][-1], "parameters": len(self.family.ranges)}
        self.network = {**words, **config.network}
        if {key: self.network[key] for key in words} != words:
            raise ConfigError("[network] of a head says its width alone; its features are the encoder's")
        self.model = ParameterHead(**self.network)
        self.model.standardise(self._seen())
        self.objectives = {"parameter": ParameterObjective(self.model, self.encoder)}

    def signature(self) -> dict[str, Any]:
        return {"network": self.network, "encoder": self.config.encoder, "encoder_sha256": self.encoder_sha256}

    def card(self, model: nn.Module) -> dict[str, Any]:
        config = self.config
        return {
            "network": self.network,
            "range": "features of pictures in [-1, 1]; parameters as shares of their ranges, in the order of the text",
            "takes": {"operator": config.operator, "noise": list(config.noise)},
            "encoder": find(config.encoder).name,
            "encoder_sha256": self.encoder_sha256,
        }

    def batch(self, step: int, slot: int) -> Batch:
        x = self.pictures(step, slot)
        rng = np.random.default_rng([self.config.seed, step, slot, DEGRADATION])
        shown, shares = zip(*self.measured(x, rng), strict=True)
        return {"v": torch.cat(shown), "u": torch.tensor(shares)}

    def measured(self, x: Tensor, rng: np.random.Generator) -> Iterator[tuple[Tensor, list[float]]]:
        """(what a network is shown, the parameters' shares) of every picture of x (b, c, h, w) in [0, 1]."""
        for picture in x.split(1):
            text = self.degradation.drawn(rng)
            ((y, operator),) = Degradation(text, self.config.noise).measurements(picture, rng)
            yield picture_input(y, operator), self.family.shares(text)

    def validate(self, model: nn.Module) -> dict[str, float]:
        pictures = self.held_out()
        if pictures is None:
            return {}
        predicted, true = self.predictions(model, pictures, 2)
        names = [name for _, name in self.family.ranges]
        return {f"{name}_error": float(e) for name, e in zip(names, np.abs(predicted - true).mean(0), strict=True)}

    def predictions(
        self, model: nn.Module, pictures: Tensor, repeats: int, seed: int = 0
    ) -> tuple[np.ndarray[Any, np.dtype[np.float64]], np.ndarray[Any, np.dtype[np.float64]]]:
        """(told, true) parameters in their units, each (n, k), of pictures that are degraded `repeats` times."""
        device = next(model.parameters()).device
        encoder, told, true = self.encoder.to(device), [], []
        with torch.no_grad():
            for k, x in enumerate(pictures):
                for repeat in range(repeats):
                    ((v, shares),) = self.measured(x[None], np.random.default_rng([seed, k, repeat]))
                    told.append(model(features(encoder, v.to(device)))[0].double().cpu().numpy())
                    true.append(shares)
        ranges = list(self.family.ranges.values())
        low, span = np.array([r.low for r in ranges]), np.array([r.high - r.low for r in ranges])
        return low + span * np.stack(told), low + span * np.array(true)

    def _seen(self, batches: int = 4) -> Tensor:
        """The moments of some training crops' features: of batches that no step of the training has."""
        with torch.no_grad():
            shown = [self.batch(0, 10**6 + k)["v"] for k in range(batches)]
            return torch.cat([moments(features(self.encoder, v)) for v in shown])

    def _check_shapes(self) -> None:
        """Raises `ConfigError` where a measurement's shape depends on the parameters, or it is no picture."""
        side, count = min(self.config.crops), len(self.family.ranges)
        shape = (self.config.channels, side, side)
        ends = [parse(self.family.drawn([u] * count)).build(shape) for u in (0.0, 1.0)]
        if any(upscaling(end) is None or end.measurement_shape != ends[0].measurement_shape for end in ends):
            raise ConfigError(
                f"measurements by {self.config.operator} are no pictures of one size, as a head needs them"
            )


class ParameterObjective(nn.Module):
    """Mean squared error of the shares."""

    def __init__(self, model: ParameterHead, encoder: SeverityEncoder) -> None:
        super().__init__()
        self.model = model
        self.encoder = [encoder]  # in a list: its parameters are not trained

    def forward(self, v: Tensor, u: Tensor) -> Tensor:
        with torch.no_grad():
            seen = features(self.encoder[0].to(v.device), v)
        return F.mse_loss(self.model(seen).float(), u)


def parameter_quality(task: ParameterTask, model: nn.Module, pictures: Tensor) -> dict[str, Any]:
    """Mean absolute error and correlation of every parameter on held-out pictures."""
    told, true = task.predictions(model, pictures, REPEATS, seed=1)
    found: dict[str, Any] = {}
    for k, (_, name) in enumerate(task.family.ranges):
        error = np.abs(told[:, k] - true[:, k])
        constant = np.abs(true[:, k] - np.median(true[:, k]))
        found |= {
            f"{name}_mae": round(float(error.mean()), 4),
            f"{name}_mae_constant": round(float(constant.mean()), 4),
            f"{name}_correlation": round(pearson(told[:, k], true[:, k]), 4),
        }
    protocol = (
        f"mean absolute error and Pearson's correlation over {len(true)} degradations of {len(pictures)} pictures, "
    )
    protocol += "centre crops of at most 256x256, float32; mae_constant: of the median for all"
    return {**found, "protocol": protocol}
