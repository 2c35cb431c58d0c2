"""Upscaling: latents given the low-resolution picture (the Stable Diffusion x4 upscaler)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from pellucid.checkpoints.diffusers import schedule
from pellucid.checkpoints.folder import read_json
from pellucid.errors import PriorError, ShapeError, require_range
from pellucid.loop import Callback, Result, reconstruct
from pellucid.noise import Noise, SeededNoise
from pellucid.operators.unknown import Unknown
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.problem import Problem
from pellucid.process import DiscreteVP
from pellucid.stable.folder import UPSCALER, Parts, load_parts
from pellucid.stable.tiles import Tiles

SCALING_FACTOR = 0.08333  # of the published model's latents, whose configuration does not always say it
MAX_NOISE_LEVEL = 350
NOISE_LEVEL, GUIDANCE, STEPS = 20, 9.0, 50
TILES = Tiles(128, 32)  # in latents of 4 pixels: 512 pixels, as the published model was made for


@dataclass(frozen=True)
class Upscaler:
    """E[z_0 | z_t, y~, level, words]: latents z of a picture, given the picture y at their own resolution, noised.

    The network is shown y~ = sqrt(abar_l) (2 y - 1) + sqrt(1 - abar_l) n at a noise level l that it is told as its
    class label: at higher levels it invents more and keeps less (Ho et al., Cascaded Diffusion Models, 2022, sec. 4.1).
    The latents' factor is that of the upscaling: 4 in the published model.

    Attributes:
        parts: of the pipeline.
        lowres: the process that gives y~, timestep l.
        max_noise_level: the largest l.
    """

    parts: Parts
    lowres: DiscreteVP
    max_noise_level: int = MAX_NOISE_LEVEL

    @classmethod
    def load(
        cls,
        folder: str | Path,
        device: str = "cpu",
        autocast: torch.dtype | None = None,
        tiles: Tiles | None = None,
    ) -> Upscaler:
        """From a diffusers folder as of `stabilityai/stable-diffusion-x4-upscaler`; safetensors only.

        Args:
            folder: with unet/, vae/, scheduler/, low_res_scheduler/, tokenizer/, text_encoder/.
            device, autocast, tiles: see `load_parts`.

        Raises:
            PriorError: see `load_parts`.
        """
        folder = Path(folder)
        parts = load_parts(folder, UPSCALER, device, autocast, tiles, usual=TILES, scaling_factor=SCALING_FACTOR)
        path = folder / "low_res_scheduler" / "scheduler_config.json"
        if not path.is_file():
            raise PriorError(f"{path} is missing, which says how much noise a noise level is")
        lowres = schedule(read_json(path))
        index = folder / "model_index.json"
        highest = read_json(index).get("max_noise_level", MAX_NOISE_LEVEL) if index.is_file() else MAX_NOISE_LEVEL
        classes = parts.config.get("num_class_embeds")
        if not isinstance(classes, int):
            raise PriorError(f"{folder / 'unet'} is told no noise level (num_class_embeds): it is no such upscaler")
        if not isinstance(highest, int) or highest < 0:
            raise PriorError(f"{index}: max_noise_level is {highest!r}; wanted: a whole number from 0")
        return cls(parts, lowres, min(highest, classes - 1, int(lowres.t_max) - 1))

    @property
    def factor(self) -> int:
        """How many times larger the result's sides are."""
        return self.parts.codec.factor

    def with_network(self, unet: nn.Module) -> Upscaler:
        """The same upscaler with another network in its place: an adapted one."""
        return replace(self, parts=self.parts.with_network(unet))

    def shown(self, y: Tensor, level: int | Tensor, n: Tensor) -> Tensor:
        """y~: y (b, 3, h, w) in [0, 1], noised by n at the level, one or (b,)."""
        time = torch.as_tensor(level, dtype=torch.float64).reshape(-1).expand(len(y)) + 1
        return self.lowres.diffuse(2 * y - 1, time, n)

    def prior(
        self,
        y: Tensor,
        noise: Noise,
        *,
        prompt: str = "",
        negative: str = "",
        guidance: float = GUIDANCE,
        noise_level: int = NOISE_LEVEL,
    ) -> DiffusionPrior:
        """The prior of latents for these low-resolution pictures; the image of each is its own.

        Args:
            y: (b, 3, h, w), or grey (b, 1, h, w), in [0, 1].
            noise: gives n, purpose "lowres".
            prompt, negative: words to be guided to, and away from.
            guidance: g of `Shown`; 1 leaves `negative` out.
            noise_level: l.

        Raises:
            CompatibilityError: the level or the guidance is out of its range.
            ShapeError: y is no batch of pictures.
        """
        require_range("noise_level", noise_level, 0, self.max_noise_level)
        require_range("guidance", guidance, 0, 1000)
        y = _colour(y).to(self.parts.device)
        shown = self.shown(y, noise_level, noise.normal(y, 0, "lowres"))
        return self.parts.prior(shown, prompt, negative, guidance, label=noise_level)

    def problem(self, y: Tensor) -> Problem:
        """What is to be found: pictures of `factor` times the size, of which the network is shown y."""
        c, h, w = y.shape[1:]
        return Problem(y.to(self.parts.device), Unknown((c, h * self.factor, w * self.factor), (c, h, w)))

    def upscale(
        self,
        y: Tensor,
        *,
        seeds: int | Iterable[int] | Noise = 0,
        prompt: str = "",
        negative: str = "",
        guidance: float = GUIDANCE,
        noise_level: int = NOISE_LEVEL,
        steps: int = STEPS,
        eta: float = 0.0,
        callback: Callback | None = None,
    ) -> Result:
        """Pictures (b, c, factor h, factor w) for y (b, c, h, w) in [0, 1], each as if it were alone.

        Args:
            y, prompt, negative, guidance, noise_level: see `prior`.
            seeds, callback: see `reconstruct`.
            steps, eta: see `Sampler.method`.
        """
        noise = seeds if isinstance(seeds, Noise) else SeededNoise.of(seeds, len(y))
        prior = self.prior(y, noise, prompt=prompt, negative=negative, guidance=guidance, noise_level=noise_level)
        method = self.parts.sampler.method(steps, eta)
        return reconstruct(self.problem(y), prior, method, seeds=noise, callback=callback)


def _colour(y: Tensor) -> Tensor:
    if y.ndim != 4 or y.shape[1] not in (1, 3) or not y.numel():
        raise ShapeError(f"wanted are pictures (batch, 1 or 3, height, width), not {tuple(y.shape)}")
    return y.expand(-1, 3, -1, -1)
