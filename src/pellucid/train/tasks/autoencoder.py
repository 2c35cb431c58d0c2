"""Training of a VQ or KL autoencoder: pixel loss, and perceptual and patch-adversarial ones if asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.metrics.pixels import psnr
from pellucid.nn.resampling import begin_as_resampling
from pellucid.train.config import AutoencoderConfig
from pellucid.train.kmeans import kmeans
from pellucid.train.tasks.base import Batch, Task

CODEBOOK_LATENTS = 65536  # latents that the first codebook is made from


class AutoencoderTask(Task):
    """x -> z -> x with diffusers' VQModel or AutoencoderKL."""

    kind = "autoencoder"
    training = "autoencoder"
    config: AutoencoderConfig
    model: Any  # a diffusers module: its methods have no types

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__(config)
        torch.manual_seed(config.seed)
        self.quantising = True  # once the codebook is made; see `maintain`
        self.model = make_autoencoder(config)
        if config.resampling:
            begin_as_resampling(self.model)
        self.generator_objective = Reconstruction(self.model, config)
        self.objectives = {"autoencoder": self.generator_objective}
        if config.adversarial:
            critic = Critic(config.channels)
            self.generator_objective.attach(critic)
            self.objectives["critic"] = CriticObjective(critic, self.generator_objective)

    def signature(self) -> dict[str, Any]:
        config = self.config
        adversarial = bool(config.adversarial)
        return {"network": config.network, "channels": config.channels, "kind": config.kind, "critic": adversarial}

    def card(self, model: Any) -> dict[str, Any]:
        words = {key: value for key, value in dict(model.config).items() if not key.startswith("_")}
        return {
            "network": {"class": type(model).__name__, **words, "scaling_factor": self.scaling(model)},
            "range": "pictures in [0, 1] are mapped to [-1, 1]; latents are multiplied by scaling_factor",
            **({"window": self.config.source["window"]} if "window" in self.config.source else {}),
        }

    def scaling(self, model: Any) -> float:
        """1 / standard deviation of the latents of training crops."""
        x = torch.cat([self.batch(0, 10**6 + k)["x"] for k in range(8)]).to(next(model.parameters()).device)
        with torch.no_grad():
            encoded = model.encode(x)
            z = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
        return round(float(1 / z.std()), 5)

    def batch(self, step: int, slot: int) -> Batch:
        return {"x": 2 * self.pictures(step, slot) - 1, "step": torch.tensor(float(step))}

    def maintain(self, step: int, averages: Mapping[str, Tensor]) -> None:
        """At `quantise_from` the codebook becomes the k-means centres of the latents of fixed crops."""
        self.quantising = step >= self.config.quantise_from
        if self.config.kind != "vq" or step != self.config.quantise_from:
            return
        latents: list[Tensor] = []
        slot = 10**6  # beyond every process's own
        device = next(self.model.parameters()).device
        while sum(map(len, latents)) < CODEBOOK_LATENTS:
            with torch.no_grad():
                z = self.model.encode(self.batch(step, slot)["x"].to(device)).latents.float()
            latents.append(z.movedim(1, -1).flatten(0, -2).cpu())
            slot += 1
        codebook = self.model.quantize.embedding.weight
        # On the CPU the sums have one order, so that every process makes the same centres.
        centres = kmeans(torch.cat(latents), len(codebook), seed=self.config.seed).to(device)
        with torch.no_grad():
            codebook.copy_(centres)
        averages["quantize.embedding.weight"].copy_(centres)

    def validate(self, model: Any) -> dict[str, float]:
        pictures = self.held_out()
        if pictures is None:
            return {}
        found = reconstruction_figures(model, pictures.to(next(model.parameters()).device), self.quantising)
        return {"psnr": sum(found["psnr"]) / len(found["psnr"])} | {
            k: float(v) for k, v in found.items() if k != "psnr"
        }

    def sample(self, model: Any) -> Tensor | None:
        pictures = self.held_out()
        pictures = pictures if pictures is not None else self.pictures(0, 10**6)
        x = pictures[:4].to(next(model.parameters()).device)
        with torch.no_grad():
            return torch.cat([x, (roundtrip(model, 2 * x - 1, self.quantising) + 1) / 2])


class Reconstruction(nn.Module):
    """The autoencoder's loss; keeps its last reconstruction for the critic."""

    def __init__(self, model: Any, config: AutoencoderConfig) -> None:
        super().__init__()
        self.model: Any = model
        self.config = config
        self.critic: list[nn.Module] = []  # in a list: its parameters are not this module's
        self.last: tuple[Tensor, Tensor] | None = None
        self.features = _perceptual() if config.perceptual else None

    def attach(self, critic: nn.Module) -> None:
        """The critic whose opinion counts."""
        self.critic = [critic]

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        config = self.config
        reconstruction, extra = self.vq(x, step) if config.kind == "vq" else self.kl(x)
        reconstruction = reconstruction.float()
        loss = F.l1_loss(reconstruction, x) if config.loss == "l1" else F.mse_loss(reconstruction, x)
        loss = loss + extra
        if self.features is not None:
            loss = loss + config.perceptual * self.features((reconstruction + 1) / 2, (x + 1) / 2).mean()
        if self.critic:
            self.last = (x, reconstruction.detach())
            if step >= config.adversarial_from:
                loss = loss - config.adversarial * self.critic[0](reconstruction).float().mean()
        return loss

    def vq(self, x: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """(reconstruction, codebook and commitment loss) (van den Oord et al., NeurIPS 2017, eq. 3)."""
        z = self.model.encode(x).latents.float()
        if step < self.config.quantise_from:
            unused = 0.0 * self.model.quantize.embedding.weight.sum()  # several processes want a gradient of everything
            return self.model.decode(z, force_not_quantize=True).sample, unused
        with torch.autocast(z.device.type, enabled=False):  # bfloat16 would choose wrong codes
            codes = nearest(z, self.model.quantize.embedding.weight)
            z_q = F.embedding(codes, self.model.quantize.embedding.weight).movedim(-1, 1)
        extra = F.mse_loss(z_q, z.detach()) + self.config.commitment * F.mse_loss(z, z_q.detach())
        straight_through = z + (z_q - z).detach()
        return self.model.decode(straight_through, force_not_quantize=True).sample, extra

    def kl(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(reconstruction of a sample of q(z | x), kl times KL(q(z | x) | N(0, I)) per pixel)."""
        posterior = self.model.encode(x).latent_dist
        per_pixel = posterior.kl().float().mean() / (x.shape[-1] * x.shape[-2])
        return self.model.decode(posterior.sample()).sample, self.config.kl * per_pixel


class Critic(nn.Sequential):
    """A patch discriminator: three strided convolutions, one score a patch (Isola et al., CVPR 2017)."""

    def __init__(self, channels: int, width: int = 32) -> None:
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for k in (1, 2):
            a, b = width * 2 ** (k - 1), width * 2**k
            layers += [nn.Conv2d(a, b, 4, stride=2, padding=1), nn.GroupNorm(8, b), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Conv2d(width * 4, 1, 4, padding=1))


class CriticObjective(nn.Module):
    """Hinge loss of the critic on the pictures and on the reconstructions of the same step."""

    def __init__(self, critic: nn.Module, generator: Reconstruction) -> None:
        super().__init__()
        self.critic = critic
        self.generator = [generator]

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        assert self.generator[0].last is not None  # the autoencoder's objective comes first
        real, fake = self.generator[0].last
        return F.relu(1 - self.critic(real).float()).mean() + F.relu(1 + self.critic(fake).float()).mean()


def make_autoencoder(config: AutoencoderConfig) -> Any:
    """A diffusers VQModel or AutoencoderKL with LDM's first-stage shape; `[network]` overrides any argument."""
    from diffusers import AutoencoderKL, VQModel

    widths = tuple(config.network.get("block_out_channels", (32, 64, 128)))
    common: dict[str, Any] = {
        "in_channels": config.channels,
        "out_channels": config.channels,
        "down_block_types": ("DownEncoderBlock2D",) * len(widths),
        "up_block_types": ("UpDecoderBlock2D",) * len(widths),
        "latent_channels": 3,
        "norm_num_groups": 4,
        "layers_per_block": 1,
    }
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in config.network.items()}
    if config.kind == "vq":
        vq = {"num_vq_embeddings": 8192, "vq_embed_dim": 3, "scaling_factor": 1.0}
        model: Any = VQModel(**{**common, **vq, "block_out_channels": widths, **given})  # type: ignore[no-untyped-call]
    else:
        model = AutoencoderKL(**{**common, "scaling_factor": 1.0, "block_out_channels": widths, **given})  # type: ignore[no-untyped-call]
    return model.to(memory_format=torch.channels_last)


def nearest(z: Tensor, codebook: Tensor) -> Tensor:
    """Index of the code nearest to every latent, argmin |e|^2 / 2 - <z, e>: (b, d, h, w), (n, d) -> (b, h, w)."""
    flat = z.detach().movedim(1, -1).flatten(0, -2)
    half = codebook.detach().square().sum(1) / 2
    index = [torch.addmm(half, part, codebook.detach().T, alpha=-1).argmin(1) for part in flat.split(4096)]
    return torch.cat(index).reshape(len(z), *z.shape[2:])


def roundtrip(model: Any, x: Tensor, quantise: bool = True) -> Tensor:
    """decode(encode(x)) as a user gets it: quantised, or the posterior's mean; x and result in [-1, 1]."""
    from pellucid.codec.autoencoder import AutoencoderCodec

    codec = AutoencoderCodec(model, quantise=quantise)
    return 2 * codec.decode(codec.encode((x + 1) / 2)) - 1


def reconstruction_figures(model: Any, pictures: Tensor, quantise: bool = True) -> dict[str, Any]:
    """PSNR in dB of each of (n, c, h, w) in [0, 1], one after the other; and how many codes were chosen in all."""
    scores, codes = [], []
    for x in pictures:
        with torch.no_grad():
            back = (roundtrip(model, 2 * x[None] - 1, quantise) + 1) / 2
            if quantise and hasattr(model, "quantize"):
                codes.append(nearest(model.encode(2 * x[None] - 1).latents, model.quantize.embedding.weight).flatten())
        scores.append(float(psnr(back, x[None])))
    return {"psnr": scores} | ({"codes": len(torch.cat(codes).unique())} if codes else {})


def _perceptual() -> nn.Module:
    from pellucid.metrics.effnet import EffnetDistance

    return EffnetDistance().requires_grad_(False).eval()
