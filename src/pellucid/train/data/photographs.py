"""Training crops as a pure function of (seed, step, rank): resuming needs no data state."""

from __future__ import annotations

import math
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"}


class Photographs:
    """Every picture of a folder, decoded once, cropped at random scales.

    Args:
        folder: searched recursively; files that do not decode are reported by a warning and left out.
        min_side: pictures with a shorter side are left out.

    Raises:
        FileNotFoundError: nothing usable was found.
    """

    def __init__(self, folder: Path, min_side: int = 64) -> None:
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        with ThreadPoolExecutor(4) as pool:
            decoded = list(pool.map(_decode, paths))
        self.images = [im for im in decoded if im is not None and min(im.size) >= min_side]
        if not self.images:
            raise FileNotFoundError(f"{folder} holds no picture with both sides of at least {min_side} pixels")
        area = np.array([float(im.width * im.height) for im in self.images])
        self.weights = np.sqrt(area) / np.sqrt(area).sum()

    def batch(self, count: int, size: int, *, seed: int, step: int, rank: int = 0) -> Tensor:
        """(count, 3, size, size) float32 in [-1, 1]; the same for the same arguments, whatever ran before."""
        rng = np.random.default_rng([seed, step, rank, 0])
        chosen = rng.choice(len(self.images), count, p=self.weights)
        crops = np.stack([_crop(self.images[i], size, rng) for i in chosen])
        return torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1


def _decode(path: Path) -> Image.Image | None:
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except Exception as error:  # a damaged file in a training set must not end the training
        warnings.warn(f"{path} left out: {error}", stacklevel=2)
        return None


def _crop(image: Image.Image, size: int, rng: np.random.Generator) -> np.ndarray:
    """A square of the picture at a random scale in [1, 4] (40 % at 1), flipped and turned at random."""
    largest = min(4.0, min(image.size) / size)
    scale = 1.0 if rng.random() < 0.4 or largest <= 1 else math.exp(rng.uniform(0, math.log(largest)))
    side = max(1, min(round(size * scale), *image.size))
    left = int(rng.integers(0, image.width - side + 1))
    top = int(rng.integers(0, image.height - side + 1))
    box = (left, top, left + side, top + side)
    patch = image.crop(box) if side == size else image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    array = np.rot90(np.asarray(patch), int(rng.integers(4)))
    return np.ascontiguousarray(array[:, ::-1] if rng.random() < 0.5 else array)
