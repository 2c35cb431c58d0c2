"""Dead-leaves images: opaque discs on top of each other, with edges, scales and spectra like those of photographs.

Reference: Lee, Mumford and Huang, Occlusion models for natural images, IJCV 41 (2001); as training data, Achddou,
Gousseau and Ladjal, Synthetic images as a regularity prior for image restoration neural networks, SSVM (2021).
"""

from __future__ import annotations

import numpy as np

FINE = 2  # samples a pixel along each side, so that edges are smooth
COVER = 4.0  # discs over a point, on average; exp(-4) of the points see the background


def dead_leaves(
    size: int,
    seed: int | np.random.Generator,
    *,
    palette: np.ndarray | None = None,
    channels: int = 3,
    smallest: float = 2.0,
    texture: float = 0.08,
) -> np.ndarray:
    """A dead-leaves image, (size, size, c) float32 in [0, 1].

    Radii have the density r^-3 between `smallest` and size / 2: as many discs of every scale as make the image look the
    same at all scales in between, with a power spectrum of about f^-2.

    Args:
        size: side in pixels.
        seed: decides everything; or a generator.
        palette: colours that leaves have, (n, c) in [0, 1]; by default any, near to grey more often than not.
        channels: of the image, if there is no palette.
        smallest: radius in pixels.
        texture: leaves have a gradient and a 1/f texture of random contrast, with this standard deviation at most.
    """
    rng = np.random.default_rng(seed)
    side, least, most = size * FINE, smallest * FINE, max(size / 2, 1.1 * smallest) * FINE
    y, x, radius = _discs(side, least, most, rng)
    leaf = _front(side, y, x, radius)
    count = len(radius) + 1  # the last one is the background
    colours = (
        _random_colours(count, channels, rng) if palette is None else palette[rng.integers(len(palette), size=count)]
    )
    contrast = texture * rng.random((count, 1))
    slope = texture * rng.normal(size=(count, 2)) / side
    grid = np.arange(side, dtype=np.float32)
    tables = np.concatenate([colours, contrast], 1).astype(np.float32)
    flat = tables[leaf]
    shade = slope[leaf, 0].astype(np.float32) * (grid[:, None] - side / 2)
    shade += slope[leaf, 1].astype(np.float32) * (grid - side / 2)
    flat[..., :-1] += shade[..., None]
    pixels = flat.reshape(size, FINE, size, FINE, -1).mean((1, 3))
    image = pixels[..., :-1] + pixels[..., -1:] * _pink(size, rng)[..., None]
    return image.clip(0, 1)


def _discs(side: int, least: float, most: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres and radii of discs that touch the image, the frontmost first; a Poisson process over the plane."""
    mean_area = 2 * np.pi * np.log(most / least) / (least**-2 - most**-2)
    count = rng.poisson(COVER * (side + 2 * most) ** 2 / mean_area)
    radius = (least**-2 - rng.random(count) * (least**-2 - most**-2)) ** -0.5
    y, x = rng.uniform(-most, side + most, (2, count))
    touches = np.hypot(y - y.clip(0, side - 1), x - x.clip(0, side - 1)) < radius
    return y[touches], x[touches], radius[touches]


def _front(side: int, y: np.ndarray, x: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """The number of the frontmost disc at every sample, (side, side); len(radius) where there is none.

    All discs of one octave of radii are rasterised at once, on grids of the largest of them.
    """
    front = np.full(side * side, len(radius), np.int32)
    octave = np.floor(np.log2(radius)).astype(int)
    for level in np.unique(octave):
        (numbers,) = np.nonzero(octave == level)
        reach = np.arange(-(2 ** int(level + 1)), 2 ** int(level + 1) + 1)
        rows = np.rint(y[numbers]).astype(int)[:, None] + reach
        columns = np.rint(x[numbers]).astype(int)[:, None] + reach
        dy = np.where((rows >= 0) & (rows < side), rows - y[numbers, None], np.inf).astype(np.float32)
        dx = np.where((columns >= 0) & (columns < side), columns - x[numbers, None], np.inf).astype(np.float32)
        within = (dy**2)[:, :, None] + (dx**2)[:, None, :] < (radius[numbers] ** 2).astype(np.float32)[:, None, None]
        disc, i, j = np.nonzero(within)
        np.minimum.at(front, rows[disc, i] * side + columns[disc, j], numbers[disc].astype(np.int32))
    return front.reshape(side, side)


def _random_colours(count: int, channels: int, rng: np.random.Generator) -> np.ndarray:
    """A uniform grey each, and a tint of random strength."""
    grey = rng.random((count, 1))
    return (grey + rng.exponential(0.1, (count, 1)) * rng.normal(size=(count, channels))).clip(0, 1)


def _pink(size: int, rng: np.random.Generator) -> np.ndarray:
    """Noise with an amplitude of 1/f, standard deviation 1, (size, size)."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(size, size))) / frequency, s=(size, size))
    return (noise / noise.std()).astype(np.float32)
