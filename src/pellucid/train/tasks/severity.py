"""Training of a severity encoder: y -> (z_hat, variance of its error), for a family of degradations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.codec import AffineCodec, Codec
from pellucid.codec.autoencoder import AutoencoderCodec
from pellucid.errors import ConfigError
from pellucid.metrics.association import associate
from pellucid.nn.severity import PixelSeverity, SeverityEncoder, SeverityNetwork, make_severity
from pellucid.train.config import SeverityConfig
from pellucid.train.degradation import Families
from pellucid.train.tasks.autoencoder import nearest
from pellucid.train.tasks.base import DEGRADATION, Batch, Task
from pellucid.zoo import Card, find, load_autoencoder

SMALLEST = 1e-3  # variance that relative errors are no more than shares of
REPEATS = 8  # degradations of every held-out picture


class SeverityTask(Task):
    """Flash-Diffusion's loss (Fabian et al., ICML 2024, sec. 3.2); the autoencoder stays as it is.

    z_hat, z_0 and s2 are in the codec's units, pictures of the image term in [-1, 1].
    """

    kind = "severity"
    training = "severity"
    config: SeverityConfig

    def __init__(self, config: SeverityConfig) -> None:
        super().__init__(config)
        torch.manual_seed(config.seed)
        self.families = Families(config.operators, config.noise)
        self.codec: Codec = AffineCodec()
        if config.codec:
            precision = "bfloat16" if config.precision == "bf16" else "float32"
            self.codec = load_autoencoder(config.codec, precision=precision)
        self.model = begin(self.codec, config.channels, config.network)
        self.network = {"class": "unet" if isinstance(self.model, PixelSeverity) else "encoder", **self.model.config}
        self.objectives = {"severity": SeverityObjective(self.model, self.codec, config)}

    def signature(self) -> dict[str, Any]:
        return {"network": self.network, "codec": self.config.codec}

    def card(self, model: nn.Module) -> dict[str, Any]:
        config = self.config
        takes = {"operators": list(config.operators), "noise": list(config.noise)}
        words: dict[str, Any] = {"network": self.network, "severity": config.severity, "takes": takes}
        if not config.codec:
            return words | {"range": "pictures in [0, 1] are mapped to [-1, 1]; the variance is in those units"}
        folder = find(config.codec)
        known = Card.read(folder).data if (folder / "card.json").is_file() else {}
        words |= {"codec": config.codec, "range": "pictures in [0, 1] are mapped to [-1, 1]; latents as the encoder's"}
        return words | ({"codec_sha256": known["sha256"]} if "network" in known else {})

    def batch(self, step: int, slot: int) -> Batch:
        x = self.pictures(step, slot)
        y = self.families.measure(x, np.random.default_rng([self.config.seed, step, slot, DEGRADATION]))
        with torch.no_grad():
            return {"x": x, "y": y, "z0": self.codec.encode(x)}

    def validate(self, model: nn.Module) -> dict[str, float]:
        pictures = self.held_out()
        if pictures is None:
            return {}
        found = severity_errors(model, self.codec, self.families, pictures, repeats=2)
        known = associate(found.predicted, found.true)
        return {"mse": float(found.true.mean()), "s2": float(found.predicted.mean()), "spearman": known.spearman}

    def calibration(self, model: nn.Module) -> dict[str, Any]:
        """The temperature, which makes the predictions right in the geometric mean over half of the held-out pictures.

        `severity_quality` measures on the other half.
        """
        if self.config.ship is None:
            return {}
        from pellucid.train.quality import centre_crops

        pictures = centre_crops(self.config.ship.evaluate, channels=self.config.channels)[::2]
        found = severity_errors(model, self.codec, self.families, pictures, REPEATS)
        known = associate(found.predicted, found.true)
        said = f"geometric mean of true / predicted variance over {known.n} degraded pictures, every other one"
        return {"temperature": round(known.ratio, 4), "protocol": said}

    def sample(self, model: nn.Module) -> Tensor | None:
        batch = self.batch(0, 10**6)
        device = next(model.parameters()).device
        with torch.no_grad():
            z = in_units(self.codec, model(2 * batch["y"][:4].to(device) - 1)[0])
            return torch.cat([batch["y"][:4].to(device), self.codec.decode(z)])


def begin(codec: Codec, channels: int, network: dict[str, Any]) -> SeverityNetwork:
    """The network that training begins with: the autoencoder's encoder with a new head, or a new UNet for pixels.

    Raises:
        ConfigError: `network` says more than the autoencoder leaves open.
        PriorError: the autoencoder's encoder is made of other blocks.
    """
    if not isinstance(codec, AutoencoderCodec):
        return make_severity({"class": "unet", "channels": channels, **network})
    module: Any = codec.module
    made = SeverityEncoder.from_autoencoder(module, network.get("head", "latent"))
    other = [key for key, value in network.items() if made.config.get(key) != value]
    if other:
        raise ConfigError(f"[network] of a severity encoder is its autoencoder's, but for head; not {other[0]!r}")
    fast: SeverityNetwork = made.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return fast


class SeverityObjective(nn.Module):
    """mean |e|^2 / d + lambda_sigma mean (v - s2)^2 + lambda_im |D(z_hat) - x|^2 / n, e = z_hat - z_0.

    v is the unbiased variance of the d entries of e, per image; n the entries of a picture. "map" instead has the mean
    over the entries of (e_i^2 - s2_i)^2, which every s2_i is least for at E[e_i^2 | y]. "relative" divides by s2^2,
    held fixed: the quasi-likelihood of numbers that spread as much as they are large, whose root is the same.
    """

    def __init__(self, model: SeverityNetwork, codec: Codec, config: SeverityConfig) -> None:
        super().__init__()
        self.model, self.config = model, config
        self.codec = [codec]  # in a list: its parameters are not trained

    def forward(self, x: Tensor, y: Tensor, z0: Tensor) -> Tensor:
        config, codec = self.config, self.codec[0]
        if isinstance(codec, AutoencoderCodec):
            codec.module.to(x.device)
        z, field = self.model.field(2 * y - 1)
        z, field = in_units(codec, z.float()), _scale(codec) ** 2 * field.float()
        e = z - z0
        heard = e.detach() if config.detached else e
        if config.severity == "map":
            predicted, true = field, heard.square()
        else:
            predicted, true = field.flatten(1).mean(1), heard.flatten(1).var(1)
        unit = predicted.detach().clamp(min=SMALLEST) if config.relative else torch.ones_like(predicted)
        loss = e.square().mean() + config.lambda_sigma * ((true - predicted) / unit).square().mean()
        if config.lambda_im:
            image = 4 * (decoded(codec, z) - x).square().flatten(1).mean(1)
            loss = loss + config.lambda_im * (image.mean() if config.weighting == "paper" else image.sum())
        return loss


def in_units(codec: Codec, z: Tensor) -> Tensor:
    """The encoder's latents in the codec's units."""
    return codec.scaling_factor * (z - codec.shift) if isinstance(codec, AutoencoderCodec) else z


def _scale(codec: Codec) -> float:
    return codec.scaling_factor if isinstance(codec, AutoencoderCodec) else 1.0


def decoded(codec: Codec, z: Tensor) -> Tensor:
    """D(z) in [0, 1], through the code book, whose gradient is taken for the latent's; codes are chosen in float32."""
    if isinstance(codec, AutoencoderCodec) and codec.quantised:
        module: Any = codec.module
        book = module.quantize.embedding.weight
        with torch.autocast(z.device.type, enabled=False):
            raw = z.detach() / codec.scaling_factor + codec.shift
            z_q = in_units(codec, F.embedding(nearest(raw, book), book).movedim(-1, 1))
        z, codec = z + (z_q - z).detach(), codec.smooth()
    return codec.decode(z)


@dataclass(frozen=True)
class Errors:
    """Variances of an error per entry, in the codec's units, one a picture.

    Attributes:
        predicted, true: of z_hat.
        plain: of the measurement's own code E(y), true.
    """

    predicted: Tensor
    true: Tensor
    plain: Tensor


def severity_errors(
    model: nn.Module, codec: Codec, families: Families, pictures: Tensor, repeats: int = 1, seed: int = 0
) -> Errors:
    """s2 and the variance of z_hat - z_0 for every picture (n, c, h, w) in [0, 1], degraded `repeats` times."""
    device = next(model.parameters()).device
    predicted, true, plain = [], [], []
    with torch.no_grad():
        for k, x in enumerate(pictures):
            z0 = codec.encode(x[None])
            for repeat in range(repeats):
                y = families.measure(x[None], np.random.default_rng([seed, k, repeat]))
                z, s2 = model(2 * y.to(device) - 1)
                predicted.append(_scale(codec) ** 2 * s2.float().cpu())
                true.append((in_units(codec, z.float().cpu()) - z0.float().cpu()).flatten(1).var(1))
                plain.append((codec.encode(y) - z0).float().flatten(1).var(1))
    return Errors(torch.cat(predicted), torch.cat(true), torch.cat(plain))


def severity_quality(task: SeverityTask, model: nn.Module, pictures: Tensor) -> dict[str, Any]:
    """How well the predicted variance follows the true one, on the pictures that calibration leaves."""
    chosen = pictures[1::2]
    found = severity_errors(model, task.codec, task.families, chosen, REPEATS, seed=1)
    known = associate(found.predicted, found.true)
    figures = {name: round(float(getattr(known, name)), 3) for name in ("spearman", "pearson_log", "slope", "spread")}
    protocol = f"predicted against true variance of z_hat per entry, {known.n} degradations of every other picture, "
    protocol += "centre crops of at most 256x256, float32; slope and pearson_log of logarithms; spread: the factor "
    protocol += "that a calibrated prediction is off by; mse of z_hat, and mse_encoded of the measurement's own code"
    errors = {"mse": round(float(found.true.mean()), 4), "mse_encoded": round(float(found.plain.mean()), 4)}
    return {**figures, **errors, "protocol": protocol}
