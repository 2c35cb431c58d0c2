"""The quality that a card states, measured on held-out data by the kind of network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import ConfigError
from pellucid.train.tasks.autoencoder import AutoencoderTask, reconstruction_figures
from pellucid.train.tasks.base import Task
from pellucid.train.tasks.denoiser import DenoiserTask, blind_psnr
from pellucid.train.tasks.prior import LatentPriorTask, PriorTask
from pellucid.train.tasks.supervised import SupervisedTask, estimation_psnr

LEVELS = (15, 25, 50)
Denoise = Callable[[Tensor, Tensor], Tensor]


def quality(task: Task, model: nn.Module) -> dict[str, Any]:
    """Figures on the configuration's [ship] evaluation data, the sets of `notes.also` included, with their protocol."""
    config = task.config
    assert config.ship is not None
    pictures = centre_crops(config.ship.evaluate, channels=config.channels, **config.ship.evaluate_source)
    return {**figures(task, model, pictures), "pictures": len(pictures)}


def figures(task: Task, model: nn.Module, pictures: Tensor) -> dict[str, Any]:
    """What a network of this kind is measured by."""
    if isinstance(task, LatentPriorTask):
        z = torch.cat([task.encoded(x[None]) for x in pictures])
        scores = {f"mse_{s:g}": round(float(np.mean(latent_mse(model, z, s))), 4) for s in (0.1, 0.25, 0.5, 1.0, 2.0)}
        protocol = "mean squared error of E[z_0 | z_0 + sigma n] per latent of unit variance, float32, one noise draw"
    elif isinstance(task, PriorTask):
        scores = {f"psnr_{level}": _mean(denoising_psnr(model, pictures, level)) for level in LEVELS}
        protocol = "one-step denoising PSNR in dB, float32, mean over the 256x256 centre crops, nothing clipped; noise "
        protocol += "std in units of 1/255 of the range [0, 1]"
    elif isinstance(task, DenoiserTask):
        scores = {f"psnr_{level}": _mean(blind_psnr(model, pictures, level)) for level in LEVELS}
        protocol = (
            "blind denoising PSNR in dB, float32, mean over the 256x256 centre crops, nothing clipped; noise std "
        )
        protocol += "in units of 1/255"
    elif isinstance(task, AutoencoderTask):
        scores = {key: round(value, 2) for key, value in reconstruction_figures(model, pictures).items()}
        protocol = "reconstruction PSNR in dB (clipped to [0, 1]), float32, mean over the 256x256 centre crops; codes: "
        protocol += "how many of the codebook these pictures chose"
    elif isinstance(task, SupervisedTask):
        after, before = estimation_psnr(model, task.degradation, pictures)
        scores = {"psnr": _mean(after), "psnr_input": _mean(before)}
        protocol = f"PSNR in dB (clipped to [0, 1]) after {task.config.operator}, noise {list(task.config.noise)}, "
        protocol += "float32, mean over the 256x256 centre crops; psnr_input: of what the network is shown, enlarged "
        protocol += "bicubically"
    else:
        raise ConfigError(f"there is no measure of quality for {task.kind}")
    return {**scores, "protocol": protocol}


def _mean(scores: list[float]) -> float:
    return round(float(np.mean(scores)), 2)


def denoising_psnr(denoise: Denoise, pictures: Tensor, level: int, seed: int = 0) -> list[float]:
    """PSNR in dB of E[x_0 | x_0 + n] for every picture, n of standard deviation level / 255, nothing clipped.

    Args:
        denoise: (x in [-1, 1], sigma in its units) -> x_0, on batches of one.
        pictures: (n, c, h, w) in [0, 1].
        level: of 255.
        seed: of the noise.
    """
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(seed))
    scores = []
    for x, n in zip(pictures, noise, strict=True):
        y = 2 * (x + level / 255 * n) - 1
        with torch.no_grad():
            x0 = (denoise(y[None], torch.tensor([2 * level / 255])) + 1) / 2
        scores.append(float(-10 * torch.log10((x0[0] - x).square().mean())))
    return scores


def latent_mse(denoise: Denoise, latents: Tensor, sigma: float, seed: int = 0) -> list[float]:
    """|E[z_0 | z_0 + sigma n] - z_0|^2 per entry, for every latent of (n, c, h, w)."""
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        pairs = zip(latents, noise, strict=True)
        return [float((denoise((z + sigma * n)[None], torch.tensor([sigma])) - z).square().mean()) for z, n in pairs]


def centre_crops(path: Path, size: int = 256, *, channels: int = 3, **source: Any) -> Tensor:
    """The size x size centre crops of held-out data, (n, c, size, size) in [0, 1]; smaller pictures are left out.

    Raises:
        ConfigError: no picture is large enough.
    """
    from pellucid.train.data import open_source

    crops = []
    opened = open_source(path, channels=channels, **source)
    for index in range(len(opened)):
        picture = opened.picture(index)
        height, width = picture.shape[-2:]
        if min(height, width) >= size:
            top, left = (height - size) // 2, (width - size) // 2
            crops.append(picture[:, top : top + size, left : left + size])
    if not crops:
        raise ConfigError(f"{path} holds no picture of at least {size} x {size} pixels")
    return torch.stack(crops)
