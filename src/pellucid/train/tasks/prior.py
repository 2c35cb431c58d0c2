"""Training of a diffusion prior, on pictures or on an autoencoder's latents."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.codec import AffineCodec, Codec
from pellucid.errors import ConfigError
from pellucid.loop import reconstruct
from pellucid.methods.unconditional import unconditional
from pellucid.nn.edm import EDMDenoiser
from pellucid.nn.unet import UNet
from pellucid.operators.diagonal import Identity
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.problem import Problem
from pellucid.process import DiscreteVP
from pellucid.train.config import LatentPriorConfig, PriorConfig
from pellucid.train.tasks.base import LEVELS, NOISE, Batch, Task, draw_noise
from pellucid.typing import expand
from pellucid.zoo import Card, find

CHECKED = (0.1, 0.2, 0.4, 1.0)  # noise levels of the validation, in units of the prior's space


class PriorTask(Task):
    """E[x_0 | x_0 + sigma n]: our UNet as an EDM denoiser, or a diffusers UNet2DModel on its own schedule."""

    kind = "prior"
    training = "prior"
    config: PriorConfig

    def __init__(self, config: PriorConfig) -> None:
        super().__init__(config)
        torch.manual_seed(config.seed)
        network = dict(config.network)
        self.objective: DenoiserObjective | TimestepObjective
        if network.pop("class", "UNet") == "UNet2DModel":
            self.objective = TimestepObjective(_unet2d(network), _schedule(config.schedule), config)
        else:
            unet = UNet(**{"channels": self.latent_channels(), **network})
            self.objective = DenoiserObjective(EDMDenoiser(_fast(unet), config.sigma_data), config)
        self.model = self.objective.model
        self.objectives = {"denoiser": self.objective}

    def latent_channels(self) -> int:
        """Channels of the space that the prior lives in."""
        return self.config.channels

    @property
    def codec(self) -> Codec:
        """Between pictures in [0, 1] and the prior's space."""
        return AffineCodec()

    def signature(self) -> dict[str, Any]:
        config = self.config
        words = {"network": config.network, "channels": config.channels, "sigma_data": config.sigma_data}
        return words | ({"schedule": config.schedule} if config.schedule else {})

    def card(self, model: nn.Module) -> dict[str, Any]:
        if not isinstance(model, EDMDenoiser):
            raise ConfigError("a UNet2DModel is shipped as a diffusers folder and has no card")
        unet = model.network
        assert isinstance(unet, UNet)
        span = "pictures in [0, 1] are mapped to [-1, 1]"
        window = {"window": self.config.source["window"]} if "window" in self.config.source else {}
        return {"network": unet.config, "sigma_data": model.sigma_data, "range": span, **window}

    def encoded(self, pictures: Tensor) -> Tensor:
        """Pictures in [0, 1] in the prior's space."""
        with torch.no_grad():
            return self.codec.encode(pictures)

    def batch(self, step: int, slot: int) -> Batch:
        x0 = self.encoded(self.pictures(step, slot))
        rng = np.random.default_rng([self.config.seed, step, slot, LEVELS])
        return {
            "x0": x0,
            "level": self.objective.levels(len(x0), rng),
            "noise": draw_noise(x0, self.generator(step, slot, NOISE)),
        }

    def prior(self, model: nn.Module, process: DiscreteVP | None = None) -> DiffusionPrior:
        """The model as a prior."""
        return self.objective.prior(model, self.codec, self.config, process)

    def validate(self, model: nn.Module) -> dict[str, float]:
        pictures = self.held_out()
        if pictures is None:
            return {}
        x0 = self.encoded(pictures)
        noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
        prior = self.prior(model)
        figures = {}
        for sigma in CHECKED:
            ratio = torch.full((len(x0),), sigma, dtype=torch.float64)
            figures[f"mse_{sigma:g}"] = float((denoised(prior, x0 + sigma * noise, ratio) - x0).square().mean())
        return figures

    def sample(self, model: nn.Module) -> Tensor | None:
        size = max(self.config.crops) if self.config.crops else 64
        count, shape = 9, (self.config.channels, min(size, 128), min(size, 128))
        nothing = Problem(torch.zeros(count, *shape), Identity(shape))
        device = next(model.parameters()).device
        problem = Problem(nothing.y.to(device), nothing.operator)
        return reconstruct(problem, self.prior(model), unconditional(30, eta=0.5)).image


class LatentPriorTask(PriorTask):
    """The same on an autoencoder's latents, of about unit standard deviation."""

    kind = "latent-prior"
    training = "latent-prior"
    config: LatentPriorConfig

    def __init__(self, config: LatentPriorConfig) -> None:
        from pellucid.zoo import load_autoencoder

        precision = "bfloat16" if config.precision == "bf16" else "float32"
        self._codec = load_autoencoder(config.codec, precision=precision)
        super().__init__(config)

    def latent_channels(self) -> int:
        return int(self._codec.shape((self.config.channels, 64, 64))[0])

    @property
    def codec(self) -> Codec:
        return self._codec

    def signature(self) -> dict[str, Any]:
        return super().signature() | {"codec": self.config.codec}

    def card(self, model: nn.Module) -> dict[str, Any]:
        schedule = {"beta_schedule": "scaled_linear", "beta_start": 0.0015, "beta_end": 0.0195}
        words = {"codec": self.config.codec, "range": "the codec's latents", "schedule": schedule}
        folder = find(self.config.codec)
        card = Card.read(folder).data if (folder / "card.json").is_file() else {}
        return super().card(model) | words | ({"codec_sha256": card["sha256"]} if "network" in card else {})

    def prior(self, model: nn.Module, process: DiscreteVP | None = None) -> DiffusionPrior:
        return super().prior(model, process or DiscreteVP.scaled_linear())


class DenoiserObjective(nn.Module):
    """EDM's loss for sigma drawn from a log-normal law, sometimes from anywhere; or min-SNR's."""

    def __init__(self, model: EDMDenoiser, config: PriorConfig) -> None:
        super().__init__()
        self.model, self.config = model, config

    def levels(self, count: int, rng: np.random.Generator) -> Tensor:
        """Noise levels sigma, (count,), in units of the prior's space."""
        return draw_sigma(count, self.config, rng)

    def forward(self, x0: Tensor, level: Tensor, noise: Tensor) -> Tensor:
        loss = self.model.loss(x0, level, noise)
        if self.config.weighting == "min-snr":
            # loss is |x0_hat - x0|^2 / c_out^2; min-SNR weighs |x0_hat - x0|^2 by min(1 / sigma^2, gamma).
            c_out = self.model.coefficients(level)[1]
            loss = loss * c_out**2 * (level**-2).clamp(max=self.config.snr_limit)
        return loss.mean()

    @staticmethod
    def prior(model: nn.Module, codec: Codec, config: PriorConfig, process: DiscreteVP | None) -> DiffusionPrior:
        """The denoiser as a prior."""
        unet = model.network if isinstance(model, EDMDenoiser) else None
        multiple = unet.multiple if isinstance(unet, UNet) else 1
        return DiffusionPrior(model, process, "denoiser", codec=codec, multiple=multiple)


class TimestepObjective(nn.Module):
    """E |target - F(x_t, t)|^2 over uniform timesteps, the target being what the schedule's `prediction_type` says."""

    def __init__(self, model: nn.Module, schedule: dict[str, Any], config: PriorConfig) -> None:
        from pellucid.checkpoints.diffusers import PREDICTIONS
        from pellucid.checkpoints.diffusers import schedule as process_of

        super().__init__()
        self.model, self.config, self.schedule = model, config, schedule
        self.process = process_of(schedule)
        self.predicts = PREDICTIONS[schedule.get("prediction_type", "epsilon")]

    def levels(self, count: int, rng: np.random.Generator) -> Tensor:
        """Timesteps i = t - 1, (count,)."""
        return torch.from_numpy(rng.integers(0, int(self.process.t_max), count))

    def forward(self, x0: Tensor, level: Tensor, noise: Tensor) -> Tensor:
        t = (level + 1).double().cpu()
        alpha, sigma = (expand(f(t), x0).to(x0) for f in (self.process.alpha, self.process.sigma))
        out = self.model(alpha * x0 + sigma * noise, level, return_dict=False)[0].float()[:, : x0.shape[1]]
        target = {"eps": noise, "x0": x0, "v": alpha * noise - sigma * x0}[self.predicts]
        error = (out - target).square().flatten(1).mean(1)
        if self.config.weighting == "min-snr":
            snr = (self.process.alpha(t) / self.process.sigma(t)).square().to(error)
            # min(SNR, gamma) |x0_hat - x0|^2, with |x0_hat - x0|^2 = |eps error|^2 / SNR = |v error|^2 / (SNR + 1).
            per_x0 = {"eps": 1 / snr, "x0": torch.ones_like(snr), "v": 1 / (snr + 1)}[self.predicts]
            error = error * per_x0 * snr.clamp(max=self.config.snr_limit)
        return error.mean()

    def prior(self, model: nn.Module, codec: Codec, config: PriorConfig, process: DiscreteVP | None) -> DiffusionPrior:
        """The network as a prior on its own schedule."""

        def network(x: Tensor, timestep: Tensor) -> Tensor:
            out: Tensor = model(x, timestep, return_dict=False)[0]
            return out

        words: Any = model.config
        learned = words.out_channels == 2 * words.in_channels
        multiple = 2 ** (len(words.block_out_channels) - 1)
        return DiffusionPrior(
            network, self.process, self.predicts, learned_variance=learned, codec=codec, multiple=multiple
        )


def draw_sigma(count: int, config: PriorConfig, rng: np.random.Generator) -> Tensor:
    """Noise levels: log-normal around the levels that matter for pictures, sometimes anything."""
    narrow = rng.normal(config.sigma_mean, config.sigma_std, count)
    wide = rng.uniform(math.log(0.01), math.log(160.0), count)
    ln_sigma = np.where(rng.random(count) < config.sigma_wide, wide, narrow)
    return torch.from_numpy(np.exp(ln_sigma).clip(0.002, 200.0)).float()


def denoised(prior: DiffusionPrior, noisy: Tensor, ratio: Tensor) -> Tensor:
    """E[x_0 | x_0 + ratio n = noisy], at the time of the prior's process whose sigma / alpha is the ratio."""
    from pellucid.prior.base import State

    t = prior.process.time_at_ratio(ratio)
    scaled = expand(prior.process.alpha(t), noisy).to(noisy) * noisy
    with torch.no_grad():
        return prior.estimate(State(scaled, t, 0)).x0


def _unet2d(network: dict[str, Any]) -> nn.Module:
    from diffusers import UNet2DModel

    if network.get("num_class_embeds"):
        raise ConfigError("training a class-conditional network is not offered: take num_class_embeds out of [network]")
    model: Any = UNet2DModel(**network)  # type: ignore[no-untyped-call]
    return _fast(model)


def _schedule(schedule: dict[str, Any]) -> dict[str, Any]:
    return {"beta_schedule": "linear", "prediction_type": "epsilon", **schedule}


def _fast(module: nn.Module) -> nn.Module:
    fast: nn.Module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return fast
