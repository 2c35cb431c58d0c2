"""Crops as a pure function of (seed, step, rank, index): resuming needs no data state."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pellucid.errors import ConfigError
from pellucid.train.data.dead_leaves import dead_leaves
from pellucid.train.data.jitter import jitter
from pellucid.train.data.phantoms import phantom_picture
from pellucid.train.data.source import Source
from pellucid.train.data.window import CT_WINDOW


class Crops:
    """Squares of a source's pictures at random places, scales and orientations, and synthetic ones among them.

    A picture is chosen with a probability proportional to the root of its area. A picture smaller than the crop is
    enlarged.

    Args:
        source: of pictures.
        seed: of all crops, unless `batch` is given another.
        largest_scale: a crop is reduced by a factor up to this, log-uniformly; 1 never reduces.
        full_scale: share of crops that are not reduced.
        flips, rotations: whether crops are mirrored, and turned by multiples of 90 degrees.
        jitter: strength of the colour jitter, 0 for none; see `jitter.jitter`.
        dead_leaves: share of dead-leaves images, in the colours of a crop.
        phantoms: share of CT phantoms, in the source's window, else in `CT_WINDOW`.
        workers: threads that make one batch.

    Raises:
        ConfigError: an option is out of its range.
    """

    def __init__(
        self,
        source: Source,
        seed: int = 0,
        *,
        largest_scale: float = 4.0,
        full_scale: float = 0.4,
        flips: bool = True,
        rotations: bool = True,
        jitter: float = 0.0,
        dead_leaves: float = 0.0,
        phantoms: float = 0.0,
        workers: int = 1,
    ) -> None:
        shares = {"full_scale": full_scale, "jitter": jitter, "dead_leaves": dead_leaves, "phantoms": phantoms}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise ConfigError(f"{name} must be in [0, 1], not {share}")
        if dead_leaves + phantoms > 1:
            raise ConfigError("dead_leaves and phantoms together must not exceed 1")
        if not 1 <= largest_scale < math.inf:
            raise ConfigError(f"largest_scale must be at least 1, not {largest_scale}")
        self.source, self.seed = source, seed
        self.largest_scale, self.full_scale, self.flips, self.rotations = largest_scale, full_scale, flips, rotations
        self.jitter, self.dead_leaves, self.phantoms = jitter, dead_leaves, phantoms
        self._odds = np.cumsum([math.sqrt(height * width) for height, width in source.shapes])
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="crops") if workers > 1 else None

    def batch(
        self, count: int, size: int, *, step: int, rank: int = 0, first: int = 0, seed: int | None = None
    ) -> Tensor:
        """(count, channels, size, size) float32 in [0, 1], channels last in memory.

        Crop i is a function of (seed, step, rank, first + i) alone: of no worker, no call before, and not of `count`.
        So a batch in two parts is the same batch, batch(8) = batch(4), batch(4, first=4), and processes either take
        different ranks, or, for results that do not depend on their number, rank 0 and first = process * count.

        Args:
            count, size: how many crops, and their side.
            step, rank, seed: which; not negative. `seed` replaces that of the constructor.
            first: number of the first crop.
        """
        key = (self.seed if seed is None else seed, step, rank)
        crops = np.empty((count, size, size, self.source.channels), np.float32)

        def fill(index: int) -> None:
            crops[index] = self.crop(size, np.random.default_rng([*key, first + index, 0]))

        for _ in (self._pool.map if self._pool else map)(fill, range(count)):
            pass
        return torch.from_numpy(crops).permute(0, 3, 1, 2)

    def crop(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """One crop, (size, size, channels) in [0, 1]; `rng` decides everything."""
        kind = rng.random()
        if kind < self.phantoms:
            phantom = phantom_picture(size, rng, self.source.window or CT_WINDOW)
            return self._oriented(np.broadcast_to(phantom[..., None], (size, size, self.source.channels)), rng)
        patch = self._patch(size, rng)
        if kind < self.phantoms + self.dead_leaves:
            palette = self.source.unit(patch).reshape(-1, self.source.channels)
            return dead_leaves(size, rng, palette=palette)
        pixels = self.source.unit(np.ascontiguousarray(self._oriented(patch, rng)))  # copied while it is small
        return jitter(pixels, self.jitter, rng) if self.jitter else pixels

    def _patch(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """A square of a picture, reduced to (size, size) or (size, size, 3), in the values of the picture."""
        chosen = int(np.searchsorted(self._odds, rng.random() * self._odds[-1], side="right"))
        picture = self.source.raw(min(chosen, len(self.source) - 1))
        height, width = picture.shape[:2]
        largest = min(self.largest_scale, min(height, width) / size)
        whole = rng.random() < self.full_scale or largest <= 1
        side = min(round(size * (1.0 if whole else math.exp(rng.uniform(0, math.log(largest))))), height, width)
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        return square(picture, top, left, side, size)

    def _oriented(self, crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        turned = np.rot90(crop, int(rng.integers(4))) if self.rotations else crop
        return turned[:, ::-1] if self.flips and rng.random() < 0.5 else turned


def square(picture: np.ndarray, top: int, left: int, side: int, size: int) -> np.ndarray:
    """The square of `side` pixels at (top, left), resized to `size` by an antialiased bicubic filter.

    The filter sees the pixels around the square, so a crop is a crop of the resized picture. 8 bits stay 8 bits;
    other kinds become float32 and may overshoot.
    """
    if side == size:
        return picture[top : top + side, left : left + side]
    margin = math.ceil(2 * max(1.0, side / size)) + 1  # the filter reaches two output pixels
    y, x = max(0, top - margin), max(0, left - margin)
    around = np.ascontiguousarray(picture[y : top + side + margin, x : left + side + margin])
    box = (left - x, top - y, left - x + side, top - y + side)
    if around.dtype == np.uint8:
        return np.asarray(Image.fromarray(around).resize((size, size), Image.Resampling.BICUBIC, box=box))
    bands = around[..., None] if around.ndim == 2 else around
    scaled = [_resized(np.ascontiguousarray(bands[..., c], np.float32), size, box) for c in range(bands.shape[2])]
    return scaled[0] if around.ndim == 2 else np.stack(scaled, -1)


def _resized(band: np.ndarray, size: int, box: tuple[int, int, int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(band).resize((size, size), Image.Resampling.BICUBIC, box=box))
