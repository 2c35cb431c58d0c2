"""The pictures of an experiment."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pellucid.bench.plan import Data
from pellucid.errors import ConfigError, ImageFileError
from pellucid.images import SUFFIXES, read
from pellucid.typing import Shape


@dataclass(frozen=True)
class Image:
    """A picture of the experiment.

    Attributes:
        name: of its file, without the suffix.
        path: the file.
        sha256: of the file.
        shape: (c, h, w) once it is cropped.
    """

    name: str
    path: Path
    sha256: str
    shape: Shape


def collect(data: Data) -> list[Image]:
    """All pictures of the experiment, read once to see that they can be.

    Raises:
        ConfigError: the folder is missing, holds none, holds fewer than are wanted, or one is too small for the crop.
        ImageFileError: one cannot be read.
    """
    if not data.path.is_dir():
        raise ConfigError(f"[data] there is no folder {data.path} (relative to {Path.cwd()})")
    files = sorted(p for p in data.path.iterdir() if p.suffix.lower() in SUFFIXES and p.name[0] != "." and p.is_file())
    if data.count is not None and len(files) < data.count:
        raise ConfigError(f"[data] count is {data.count}, but {data.path} holds {len(files)} pictures")
    if not files:
        raise ConfigError(f"[data] the folder {data.path} holds no pictures ({' '.join(sorted(SUFFIXES))})")
    chosen = files[: data.count]
    names = [path.stem for path in chosen]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"[data] two pictures in {data.path} have the name {twice}")
    return [Image(path.stem, path, _sha256(path), tuple(load(data, path).shape)) for path in chosen]


@lru_cache(maxsize=64)
def load(data: Data, path: Path) -> Tensor:
    """A picture as the experiment sees it, (c, h, w) in [0, 1].

    Raises:
        ConfigError: it is too small for the crop.
        ImageFileError: it cannot be read, or is no picture.
    """
    picture = read(path)
    if not picture.is_image:
        raise ImageFileError(f"{path} holds an array of shape {tuple(picture.pixels.shape)}, no picture")
    pixels = _coloured(picture.pixels, data.colour)
    if data.size is None or data.crop == "none":
        return pixels
    height, width = pixels.shape[-2:]
    if min(height, width) < data.size:
        raise ConfigError(f"[data] {path} is {height} x {width}, smaller than the size {data.size}")
    side = data.size if data.crop == "centre" else min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    pixels = pixels[:, top : top + side, left : left + side].contiguous()
    if side != data.size:
        pixels = interpolate(pixels[None], (data.size,) * 2, mode="bilinear", antialias=True, align_corners=False)[0]
    return pixels


def stacked(data: Data, images: list[Image]) -> Tensor:
    """Pictures of one shape as a batch, (b, c, h, w)."""
    return torch.stack([load(data, image.path) for image in images])


def _coloured(pixels: Tensor, colour: str) -> Tensor:
    if colour == "rgb":
        return pixels.expand(3, -1, -1)
    return pixels.mean(0, keepdim=True) if colour == "grey" else pixels


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
