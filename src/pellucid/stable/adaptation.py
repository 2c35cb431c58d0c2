"""What a Stable Diffusion network is adapted by: its own training loss, on crops of the nearest pictures (ADIR).

Reference: Abu-Hussein, Tirer and Giryes, ADIR: Adaptive Diffusion for Image Reconstruction, 2022, eq. (5) and (17):

    theta = argmin sum_k sum_t || e - f_theta(alpha_t z_k + sigma_t eps, t) ||^2,

z_k being the latents of a random crop of picture k, and e what the network predicts: eps, or v = alpha_t eps -
sigma_t z_k (Salimans and Ho, 2022), or z_k. One t for a batch of six crops, uniform in 1 .. T. The means over entries
are taken, not the sums, as in every training code.

Each loss is a function (network, generator) -> scalar, for `pellucid.adapt.fit`. All that is random comes from the
generator, which lives on the CPU: the same seed, the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from pellucid.adapt import Adapter, Lora, Training, fit, trainable
from pellucid.adapt.training import Loss
from pellucid.errors import CompatibilityError, ShapeError, require_range
from pellucid.images.picture import resize
from pellucid.operators.resize import Bicubic
from pellucid.stable.folder import Parts
from pellucid.stable.inpainter import Inpainter
from pellucid.stable.masks import random_mask
from pellucid.stable.network import predicted
from pellucid.stable.upscaler import Upscaler
from pellucid.typing import expand

CROP, BATCH = 512, 6


def learned(
    parts: Parts,
    loss: Loss,
    style: Lora | None = None,
    training: Training | None = None,
    *,
    watch: Callable[[int, float], object] | None = None,
) -> Adapter:
    """What the pictures of a loss teach the network: LoRA of rank 16, alpha 8, on all convolutions, 400 steps.

    The network itself stays as it is; `pipeline.with_network(adapter.into(pipeline.parts.unet))` is the adapted one.

    Args:
        parts: of the pipeline that the loss is of.
        loss: `UpscaleLoss` or `InpaintLoss`.
        style, training: see there.
        watch: told every step and its loss; returning True ends the adaptation there.

    Raises:
        CompatibilityError: the loss is no longer finite.
        PriorError: peft is not installed.
    """
    style, training = style or Lora(), training or Training()
    return fit(trainable(parts.unet, style, training.seed), loss, training, style=style, watch=watch)


@dataclass(frozen=True)
class Crops:
    """Random crops of pictures.

    Args:
        pictures: (3, h, w), or grey (1, h, w), in [0, 1], or uint8 of 0 .. 255; smaller ones are enlarged until a crop
            fits.
        side: of a crop, in pixels.
        batch: crops at a time.

    Raises:
        ShapeError: there are no pictures, or one is none.
        CompatibilityError: the side or the batch is below 1.
    """

    pictures: Sequence[Tensor]
    side: int = CROP
    batch: int = BATCH

    def __post_init__(self) -> None:
        require_range("crop", self.side, 1)
        require_range("batch", self.batch, 1)
        if not self.pictures:
            raise ShapeError("there are no pictures to adapt to")
        for picture in self.pictures:
            if picture.ndim != 3 or picture.shape[0] not in (1, 3) or not picture.numel():
                raise ShapeError(f"a picture to adapt to is (3, height, width), not {tuple(picture.shape)}")

    def draw(self, generator: torch.Generator) -> Tensor:
        """(batch, 3, side, side)."""
        return torch.stack([self._one(generator) for _ in range(self.batch)])

    def _one(self, generator: torch.Generator) -> Tensor:
        picture = self.pictures[_whole(len(self.pictures), generator)]
        height, width = picture.shape[-2:]
        if min(height, width) < self.side:
            scale = self.side / min(height, width)
            picture = resize(
                _unit(picture), (max(self.side, round(height * scale)), max(self.side, round(width * scale)))
            )
            height, width = picture.shape[-2:]
        top, left = (_whole(length - self.side + 1, generator) for length in (height, width))
        return _unit(picture[:, top : top + self.side, left : left + self.side]).expand(3, -1, -1)


def _unit(picture: Tensor) -> Tensor:
    """float32 in [0, 1]."""
    return picture.float() / 255 if picture.dtype == torch.uint8 else picture.float()


@dataclass(frozen=True)
class UpscaleLoss:
    """The upscaler's: the crop is the high-resolution picture, the network is shown A(crop), noised, and no words.

    A is antialiased bicubic downsampling by the upscaler's factor; the noise level is uniform in 0 .. max_noise_level,
    one an image.

    Args:
        upscaler: which.
        pictures: see `Crops`.
        crop: side of a crop in pixels at most: rounded down to what the network takes without padding, and where
            pictures are smaller down to half of it; still smaller ones are enlarged.
        batch: crops at a time.

    Raises:
        CompatibilityError: the crop is smaller than what the network takes.
    """

    upscaler: Upscaler
    pictures: Sequence[Tensor]
    crop: int = CROP
    batch: int = BATCH

    def __post_init__(self) -> None:
        _ = self.crops

    @property
    def crops(self) -> Crops:
        """The crops that are drawn from."""
        return Crops(self.pictures, _side(self.pictures, self.crop, self.upscaler.parts), self.batch)

    def __call__(self, network: nn.Module, generator: torch.Generator) -> Tensor:
        """The loss of one batch, differentiable in the network's parameters."""
        upscaler, parts = self.upscaler, self.upscaler.parts
        x = self.crops.draw(generator)
        y = Bicubic(tuple(x.shape[1:]), upscaler.factor)(x).clamp(0, 1)
        levels = torch.randint(0, upscaler.max_noise_level + 1, (len(x),), generator=generator)
        shown = upscaler.shown(y, levels, torch.randn(y.shape, generator=generator))
        (words,) = parts.words("")
        return _loss(parts, network, x, shown, words.expand(len(x), -1, -1), generator, levels)


@dataclass(frozen=True)
class InpaintLoss:
    """The inpainter's: random masks, and words that are left out in one batch image of ten.

    Args:
        inpainter: which.
        pictures: see `Crops`.
        prompt: the words; "" where there are none.
        drop: the probability of the empty words in their place, which guidance lives on.
        crop: side of a crop in pixels at most: rounded down to what the network takes without padding, and where
            pictures are smaller down to half of it; still smaller ones are enlarged.
        batch: crops at a time.

    Raises:
        CompatibilityError: the crop is smaller than what the network takes, or `drop` is no probability.
    """

    inpainter: Inpainter
    pictures: Sequence[Tensor]
    prompt: str = ""
    drop: float = 0.1
    crop: int = CROP
    batch: int = BATCH

    def __post_init__(self) -> None:
        require_range("drop", self.drop, 0, 1)
        _ = self.crops

    @property
    def crops(self) -> Crops:
        """The crops that are drawn from."""
        return Crops(self.pictures, _side(self.pictures, self.crop, self.inpainter.parts), self.batch)

    def __call__(self, network: nn.Module, generator: torch.Generator) -> Tensor:
        """The loss of one batch, differentiable in the network's parameters."""
        inpainter, parts = self.inpainter, self.inpainter.parts
        x = self.crops.draw(generator)
        height, width = x.shape[-2:]
        masks = torch.stack([random_mask(height, width, generator) for _ in x])
        with torch.no_grad():
            shown = inpainter.shown(x.to(parts.device), masks.to(parts.device))
        given, empty = parts.words(self.prompt, "")
        dropped = torch.rand(len(x), generator=generator) < self.drop
        words = torch.where(dropped.to(given.device)[:, None, None], empty, given)
        return _loss(parts, network, x, shown, words, generator)


def _loss(
    parts: Parts,
    network: nn.Module,
    x: Tensor,
    shown: Tensor,
    words: Tensor,
    generator: torch.Generator,
    labels: Tensor | None = None,
) -> Tensor:
    """Eq. (5) for what the network predicts, at one common t."""
    device, process = parts.device, parts.process
    with torch.no_grad():
        z = parts.codec.encode(x.to(device))
    t = torch.randint(1, int(process.t_max) + 1, (1,), generator=generator).double().expand(len(z))
    eps = torch.randn(z.shape, generator=generator).to(z)
    noisy = process.diffuse(z, t, eps)
    autocast = torch.autocast(torch.device(device).type, parts.autocast) if parts.autocast else nullcontext()
    with autocast:
        joined = torch.cat([noisy, shown.to(noisy)], dim=1)
        labels = None if labels is None else labels.to(device)
        out = predicted(network, joined, (t - 1).float().to(device), words.to(joined), labels)
    return mse_loss(out.float(), _target(parts, z, eps, t))


def _target(parts: Parts, z: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    if parts.predicts == "eps":
        return eps
    if parts.predicts == "x0":
        return z
    return expand(parts.process.alpha(t), z) * eps - expand(parts.process.sigma(t), z) * z


def _side(pictures: Sequence[Tensor], crop: int, parts: Parts) -> int:
    """Of a crop: as asked, or the smallest picture's, but half of what was asked at least; its latents need no padding.

    Enlarged pictures are blurred, which is not to be learned; but one that is tiny is not to set the size for all.
    """
    step = parts.codec.factor * parts.multiple
    if crop < step:
        raise CompatibilityError(f"a crop must have {step} pixels a side at least for this network, not {crop}")
    smallest = min((min(picture.shape[-2:]) for picture in pictures), default=crop)
    return max(min(crop, max(smallest, crop // 2)) // step, 1) * step


def _whole(below: int, generator: torch.Generator) -> int:
    return int(torch.randint(0, below, (), generator=generator))
