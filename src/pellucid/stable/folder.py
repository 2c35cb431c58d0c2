"""Stable Diffusion pipelines in diffusers folders, part by part; safetensors only."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pellucid.checkpoints.diffusers import PREDICTIONS, load_model, schedule, scheduler_config
from pellucid.checkpoints.kinds import DIFFUSERS
from pellucid.errors import PriorError
from pellucid.prior.diffusion import DiffusionPrior, Prediction
from pellucid.process import DiscreteVP
from pellucid.stable.halves import plainly_named
from pellucid.stable.network import Shown
from pellucid.stable.sampling import Sampler
from pellucid.stable.text import TextEncoder
from pellucid.stable.tiles import TiledCodec, Tiles


@dataclass(frozen=True)
class Published:
    """A family of published models.

    Attributes:
        what: it is.
        name: of the model at huggingface.co to begin with.
        channels: that its network takes beside the latents.
        said: what these are.
    """

    what: str
    name: str
    channels: int
    said: str

    @property
    def remedy(self) -> str:
        """Where to get one."""
        local = self.name.rpartition("/")[2]
        return (
            f"a published one: hf download {self.name} --local-dir {local} --exclude '*.bin' --exclude '*.ckpt', "
            f"then --model {local}"
        )


UPSCALER = Published("an upscaler", "stabilityai/stable-diffusion-x4-upscaler", 3, "a low-resolution picture")
INPAINTER = Published(
    "an inpainting model", "stable-diffusion-v1-5/stable-diffusion-inpainting", 5, "a mask and a masked picture"
)


@dataclass(frozen=True)
class Parts:
    """A pipeline that is conditioned on a picture.

    Attributes:
        unet: a UNet2DConditionModel, frozen.
        codec: its autoencoder.
        process: its forward process.
        predicts: "eps", "v" or "x0".
        sampler: what its scheduler says about sampling.
        words: its text encoder.
        tiles: how large pictures are cut.
        device: where it is.
        autocast: dtype of its forward passes.
    """

    unet: nn.Module
    codec: TiledCodec
    process: DiscreteVP
    predicts: Prediction
    sampler: Sampler
    words: Callable[..., list[torch.Tensor]]
    tiles: Tiles
    device: str = "cpu"
    autocast: torch.dtype | None = None

    @property
    def config(self) -> Any:
        """Of the network."""
        return self.unet.config

    @property
    def multiple(self) -> int:
        """Sides that the network takes are multiples of this."""
        return int(2 ** (len(self.config["block_out_channels"]) - 1))

    def with_network(self, unet: nn.Module) -> Parts:
        """The same pipeline with another network in its place: an adapted one."""
        return replace(self, unet=unet)

    def in_tiles(self, tiles: Tiles) -> Parts:
        """The same pipeline with other tiles, for the network and for the autoencoder."""
        codec = copy(self.codec)
        codec.tiles = tiles
        return replace(self, tiles=tiles, codec=codec)

    def prior(
        self, picture: torch.Tensor, prompt: str, negative: str, guidance: float, *, label: int | None = None
    ) -> DiffusionPrior:
        """E[x_0 | x_t, picture, words] for latents x, see `Shown`."""
        towards, away = self.words(prompt, negative)
        width = self.config.get("cross_attention_dim")
        if isinstance(width, int) and width != towards.shape[-1]:
            raise PriorError(
                f"the text encoder gives {towards.shape[-1]} numbers a token and the network takes {width}: they are "
                "not of one model"
            )
        network = Shown(
            self.unet, picture, towards, away, guidance, label=label, tiles=self.tiles, multiple=self.multiple
        )
        return DiffusionPrior(network, self.process, self.predicts, codec=self.codec, autocast=self.autocast)


def load_parts(
    folder: str | Path,
    wanted: Published,
    device: str = "cpu",
    autocast: torch.dtype | None = None,
    tiles: Tiles | None = None,
    *,
    usual: Tiles,
    scaling_factor: float | None = None,
) -> Parts:
    """The parts of a pipeline folder: unet/, vae/, scheduler/, tokenizer/ and text_encoder/.

    Args:
        folder: as diffusers saves it.
        wanted: which family it must be of.
        device: where the networks go.
        autocast: dtype of their forward passes.
        tiles: how large pictures are cut, for the network and for the autoencoder.
        usual: the network's, where `tiles` is None; the autoencoder then takes a megapixel at a time.
        scaling_factor: of the latents; by default as vae/ says.

    Raises:
        PriorError: the folder is missing or of another family, its files are missing or damaged or no safetensors, or
            do not fit each other, or a library is not installed.
    """
    folder = Path(folder)
    require_model(folder, wanted)
    words = TextEncoder(folder, device)
    config = scheduler_config(folder)
    if not config:
        raise PriorError(f"{folder} lacks scheduler/scheduler_config.json, which says how much noise there is")
    process, sampler = schedule(config), Sampler.of(config)
    kind = config.get("prediction_type", "epsilon")
    if kind not in PREDICTIONS:
        raise PriorError(f"the scheduler's prediction_type {kind!r} is unknown; known are {', '.join(PREDICTIONS)}")
    module = _part(folder / "vae", "AutoencoderKL", device)
    codec = TiledCodec(module, tiles, autocast=autocast, scaling_factor=scaling_factor)
    unet = _part(folder / "unet", "UNet2DConditionModel", device)
    parts = Parts(unet, codec, process, PREDICTIONS[kind], sampler, words, tiles or usual, device, autocast)
    _require_channels(folder, parts, wanted)
    return parts


def require_model(folder: Path | None, wanted: Published) -> Path:
    """The folder.

    Raises:
        PriorError: there is none, or it is no pipeline; the text says where to get one.
    """
    if folder is None:
        raise PriorError(f"say where {wanted.what} lies: --model FOLDER; {wanted.remedy}")
    if not folder.is_dir():
        raise PriorError(f"the model folder {folder} does not exist; {wanted.remedy}")
    for part in ("unet", "vae"):
        if not (folder / part / "config.json").is_file():
            raise PriorError(
                f"{folder} holds no {part}/config.json: it is no diffusers folder of {wanted.what}; {wanted.remedy}"
            )
    return folder


def _part(folder: Path, kind: str, device: str) -> nn.Module:
    with plainly_named(folder, DIFFUSERS) as found:
        return load_model(found, (kind,), device)


def _require_channels(folder: Path, parts: Parts, wanted: Published) -> None:
    latents, channels, out = parts.codec.latent_channels, parts.config["in_channels"], parts.config["out_channels"]
    if (channels, out) != (latents + wanted.channels, latents):
        raise PriorError(
            f"{folder / 'unet'} takes {channels} channels and gives {out}; {wanted.what} takes {latents} latents with "
            f"{wanted.said}, {latents + wanted.channels} in all, and gives {latents}; {wanted.remedy}"
        )
