"""The quality that a card states, measured on held-out data by the kind of network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import ConfigError
from pellucid.metrics.pixels import psnr
from pellucid.metrics.statistics import summarise
from pellucid.nn.edm import EDMDenoiser
from pellucid.nn.restorer import DiracNetwork
from pellucid.train.config import RunConfig
from pellucid.train.data import open_source
from pellucid.train.data.phantoms import phantom_picture
from pellucid.train.tasks.autoencoder import AutoencoderTask, reconstruction_figures
from pellucid.train.tasks.base import Task
from pellucid.train.tasks.denoiser import DenoiserTask, blind_psnr
from pellucid.train.tasks.dirac import DiracTask, restoration_quality
from pellucid.train.tasks.parameter import ParameterTask, parameter_quality
from pellucid.train.tasks.prior import LatentPriorTask, PriorTask, denoised
from pellucid.train.tasks.severity import SeverityTask, severity_quality
from pellucid.train.tasks.supervised import SupervisedTask, estimation_psnr
from pellucid.zoo import load_autoencoder

LEVELS = (15, 25, 50)
Denoise = Callable[[Tensor, Tensor], Tensor]


def quality(task: Task, model: nn.Module) -> dict[str, Any]:
    """Figures on the configuration's [ship] evaluation data, and on the further sets of `also`, with the protocol."""
    config = task.config
    assert config.ship is not None
    pictures = centre_crops(config.ship.evaluate, channels=config.channels, **config.ship.evaluate_source)
    measured = {**figures(task, model, pictures), "pictures": len(pictures)}
    for name, words in config.ship.also.items():
        more = _set(config, words)
        measured[name] = {k: v for k, v in figures(task, model, more).items() if k != "protocol"}
        measured[name]["pictures"] = len(more)
    return measured


def _set(config: RunConfig, words: dict[str, Any]) -> Tensor:
    """The pictures of one further set: (n, c, h, w) in [0, 1]."""
    options = dict(words)
    if count := options.pop("phantoms", None):
        drawn = [phantom_picture(256, np.random.default_rng([2**31, k])) for k in range(int(count))]
        return torch.from_numpy(np.stack(drawn)).float()[:, None]
    return centre_crops(Path(options.pop("path")), channels=config.channels, **options)


def figures(task: Task, model: nn.Module, pictures: Tensor) -> dict[str, Any]:
    """What a network of this kind is measured by."""
    crops = "float32, mean over the centre crops of at most 256x256"
    denoise: Denoise = model
    if isinstance(task, PriorTask) and not isinstance(model, EDMDenoiser):  # on a schedule of its own
        prior = task.prior(model)

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            return denoised(prior, x, sigma.double())

    if isinstance(task, LatentPriorTask):
        codec = load_autoencoder(task.config.codec)  # training encodes in bfloat16
        with torch.no_grad():
            z = torch.cat([codec.encode(x[None]) for x in pictures])
        scores = {f"mse_{s:g}": latent_mse(denoise, z, s) for s in (0.1, 0.25, 0.5, 1.0, 2.0)}
        protocol = f"mean squared error of E[z_0 | z_0 + sigma n] per latent of about unit variance, {crops}"
    elif isinstance(task, PriorTask):
        scores = {f"psnr_{level}": denoising_psnr(denoise, pictures, level) for level in LEVELS}
        protocol = f"one-step denoising PSNR in dB, {crops}, nothing clipped; noise std in units of 1/255 of [0, 1]"
    elif isinstance(task, DenoiserTask):
        scores = {f"psnr_{level}": blind_psnr(model, pictures, level) for level in LEVELS}
        protocol = f"blind denoising PSNR in dB, {crops}, nothing clipped; noise std in units of 1/255 of [0, 1]"
    elif isinstance(task, AutoencoderTask):
        measured = reconstruction_figures(model, pictures)
        codes = {"codes": int(measured["codes"])} if "codes" in measured else {}
        protocol = f"reconstruction PSNR in dB (clipped to [0, 1]), {crops}; codes: how many these pictures chose"
        return {**_with_interval("psnr", measured["psnr"]), **codes, "protocol": protocol}
    elif isinstance(task, SupervisedTask):
        after, before = estimation_psnr(model, task.degradation, pictures)
        scores = {"psnr": after, "psnr_input": before}
        protocol = f"PSNR in dB (clipped to [0, 1]) after {task.config.operator}, noise {list(task.config.noise)}, "
        protocol += f"{crops}; psnr_input: of what the network is shown, enlarged bicubically"
    elif isinstance(task, DiracTask):
        assert isinstance(model, DiracNetwork)
        # Half of the pictures have served calibration, where those are the ones that are also validated on.
        shared = task.config.ship is not None and task.config.validation in (None, task.config.ship.evaluate)
        scores = restoration_quality(task, model, pictures[1::2] if shared else pictures)
        protocol = f"PSNR in dB (clipped to [0, 1]) of the estimate from y_t in one call, and of y_t, {crops}"
        protocol += "; severity_error: of t told from y, |t_hat - t|" + ("; every other picture" if shared else "")
    elif isinstance(task, ParameterTask):
        return parameter_quality(task, model, pictures)
    elif isinstance(task, SeverityTask):
        return severity_quality(task, model, pictures)
    else:
        raise ConfigError(f"there is no measure of quality for {task.kind}")
    digits = 4 if isinstance(task, LatentPriorTask) else 2
    merged: dict[str, Any] = {}
    for name, values in scores.items():
        merged |= _with_interval(name, values, digits)
    return {**merged, "protocol": f"{protocol}; _95: bootstrap interval of the mean over pictures"}


def _with_interval(name: str, scores: list[float], digits: int = 2) -> dict[str, Any]:
    """The mean, and its 95 % interval where there are enough pictures to speak of one."""
    if len(scores) < 8:
        return {name: round(float(np.mean(scores)), digits)}
    found = summarise(scores)
    return {name: round(found.mean, digits), f"{name}_95": [round(found.low, digits), round(found.high, digits)]}


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
        scores.append(float(psnr(x0, x[None], clip=False)))
    return scores


def latent_mse(denoise: Denoise, latents: Tensor, sigma: float, seed: int = 0) -> list[float]:
    """|E[z_0 | z_0 + sigma n] - z_0|^2 per entry, for every latent of (n, c, h, w)."""
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        pairs = zip(latents, noise, strict=True)
        return [float((denoise((z + sigma * n)[None], torch.tensor([sigma])) - z).square().mean()) for z, n in pairs]


def centre_crops(path: Path, size: int = 256, *, channels: int = 3, count: int | None = None, **source: Any) -> Tensor:
    """The size x size centre crops of held-out data, (n, c, size, size) in [0, 1]; smaller pictures are left out.

    Args:
        path, source: see `open_source`.
        size: in pixels.
        channels: 3 or 1.
        count: so many, evenly spread over the data; None for all.

    Raises:
        ConfigError: no picture is large enough.
    """
    opened = open_source(path, channels=channels, **source)
    large = [k for k, shape in enumerate(opened.shapes) if min(shape) >= size]
    if not large:
        raise ConfigError(f"{path} holds no picture of at least {size} x {size} pixels")
    chosen = large if count is None else [large[int(k)] for k in np.linspace(0, len(large) - 1, min(count, len(large)))]
    crops = []
    for index in chosen:
        picture = opened.picture(index)
        top, left = (picture.shape[-2] - size) // 2, (picture.shape[-1] - size) // 2
        crops.append(picture[:, top : top + size, left : left + size])
    return torch.stack(crops)
