"""Editing by words: latents given what is to be kept (Stable Diffusion inpainting)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from pellucid.errors import CompatibilityError, ShapeError, require_range
from pellucid.loop import Callback, Result, reconstruct
from pellucid.noise import Noise, SeededNoise
from pellucid.operators.unknown import Unknown
from pellucid.prior.diffusion import DiffusionPrior, pad_to_multiple
from pellucid.problem import Problem
from pellucid.stable.folder import INPAINTER, Parts, load_parts
from pellucid.stable.tiles import Tiles

GUIDANCE, STEPS = 7.5, 50
TILES = Tiles(96, 32)  # in latents of 8 pixels: 768 pixels, half as much again as the published models were made for
Cover = Literal["any", "nearest"]


@dataclass(frozen=True)
class Inpainter:
    """E[z_0 | z_t, m, E(x (1 - m)), words]: latents z of a picture, given what of it is kept.

    The network is shown the mask m in latents (1: to be made) and the latents of the picture whose hole is mid-grey.

    Attributes:
        parts: of the pipeline.
        cover: which latents the mask covers: "any" that has a pixel of it, so that no line is too thin; "nearest", as
            diffusers' pipeline, takes the upper left pixel of each for the whole.

    Raises:
        CompatibilityError: `cover` is neither word.
    """

    parts: Parts
    cover: Cover = "any"

    def __post_init__(self) -> None:
        if self.cover not in ("any", "nearest"):
            raise CompatibilityError(f"cover must be 'any' or 'nearest', not {self.cover!r}")

    @classmethod
    def load(
        cls,
        folder: str | Path,
        device: str = "cpu",
        autocast: torch.dtype | None = None,
        tiles: Tiles | None = None,
    ) -> Inpainter:
        """From a diffusers folder as of `stable-diffusion-v1-5/stable-diffusion-inpainting`; safetensors only.

        Args:
            folder: with unet/, vae/, scheduler/, tokenizer/, text_encoder/.
            device, autocast, tiles: see `load_parts`.

        Raises:
            PriorError: see `load_parts`.
        """
        return cls(load_parts(folder, INPAINTER, device, autocast, tiles, usual=TILES))

    def with_network(self, unet: nn.Module) -> Inpainter:
        """The same inpainter with another network in its place: an adapted one."""
        return replace(self, parts=self.parts.with_network(unet))

    def shown(self, image: Tensor, mask: Tensor) -> Tensor:
        """Mask and masked latents, (b, 1 + latents, h', w').

        Args:
            image: (b, 3, h, w) in [0, 1].
            mask: (1 or b, 1, h, w), above one half where the picture is to be made anew.
        """
        factor, hole = self.parts.codec.factor, (mask > 0.5).to(image)
        kept = self.parts.codec.encode(image * (1 - hole) + 0.5 * hole)
        wide = pad_to_multiple(hole, factor)
        covered = max_pool2d(wide, factor) if self.cover == "any" else wide[..., ::factor, ::factor]
        return torch.cat([covered.expand(len(kept), -1, -1, -1), kept], dim=1)

    def prior(
        self, image: Tensor, mask: Tensor, *, prompt: str, negative: str = "", guidance: float = GUIDANCE
    ) -> DiffusionPrior:
        """The prior of latents for what is kept of these pictures.

        Args:
            image: (b, 3, h, w), or grey (b, 1, h, w), in [0, 1]; what is under the mask is not looked at.
            mask: (1 or b, 1, h, w), above one half where the picture is to be made anew.
            prompt, negative: words to be guided to, and away from.
            guidance: g of `Shown`; 1 leaves `negative` out.

        Raises:
            CompatibilityError: the guidance is out of its range, or the mask is empty.
            ShapeError: the pictures are none, or the mask has another size.
        """
        require_range("guidance", guidance, 0, 1000)
        _require_mask(image, mask)
        image, mask = (part.to(self.parts.device) for part in (image, mask))
        with torch.no_grad():
            shown = self.shown(image.clamp(0, 1).expand(-1, 3, -1, -1), mask)
        return self.parts.prior(shown, prompt, negative, guidance)

    def edit(
        self,
        image: Tensor,
        mask: Tensor,
        *,
        prompt: str,
        negative: str = "",
        guidance: float = GUIDANCE,
        seeds: int | Iterable[int] | Noise = 0,
        steps: int = STEPS,
        eta: float = 0.0,
        callback: Callback | None = None,
    ) -> Result:
        """Pictures like `image` (b, c, h, w) outside of the mask, to the bit, and as the words say inside.

        Args:
            image, mask, prompt, negative, guidance: see `prior`.
            seeds, callback: see `reconstruct`.
            steps, eta: see `Sampler.method`.
        """
        noise = seeds if isinstance(seeds, Noise) else SeededNoise.of(seeds, len(image))
        prior = self.prior(image, mask, prompt=prompt, negative=negative, guidance=guidance)
        image, mask = (part.to(self.parts.device) for part in (image, mask))
        problem = Problem(image, Unknown(tuple(image.shape[1:])))
        method = self.parts.sampler.method(steps, eta)
        result = reconstruct(problem, prior, method, seeds=noise, callback=callback)
        return replace(result, image=torch.where(mask > 0.5, result.image, image))


def surroundings(mask: Tensor, side: int) -> tuple[slice, slice]:
    """Rows and columns around what is above one half in a mask (..., h, w): a quarter of `side` on every side at least.

    No less than `side` either way, or all where there is less. What lies farther away is not worth the time.

    Args:
        mask: not empty.
        side: of a tile, in pixels.
    """
    covered = (mask > 0.5).flatten(0, -3).any(0)
    rows, columns = (_around(covered.any(axis).nonzero().flatten(), covered.shape[1 - axis], side) for axis in (1, 0))
    return rows, columns


def _around(covered: Tensor, length: int, side: int) -> slice:
    first, last = int(covered[0]), int(covered[-1]) + 1
    wanted = min(length, max(side, last - first + 2 * (side // 4)))
    begin = min(max((first + last - wanted) // 2, 0), length - wanted)
    return slice(begin, begin + wanted)


def _require_mask(image: Tensor, mask: Tensor) -> None:
    if image.ndim != 4 or image.shape[1] not in (1, 3) or not image.numel():
        raise ShapeError(f"wanted are pictures (batch, 1 or 3, height, width), not {tuple(image.shape)}")
    if mask.ndim != 4 or mask.shape[1] != 1 or len(mask) not in (1, len(image)):
        raise ShapeError(f"the mask must be (1 or {len(image)}, 1, height, width), not {tuple(mask.shape)}")
    if mask.shape[-2:] != image.shape[-2:]:
        sizes = [" x ".join(map(str, part.shape[-2:])) for part in (mask, image)]
        raise ShapeError(
            f"the mask is {sizes[0]} and the picture {sizes[1]} (height x width); they must be of one size"
        )
    if not bool((mask > 0.5).flatten(1).any(1).all()):
        raise CompatibilityError("the mask is empty: nothing in it is above one half, where the picture is to be made")
