"""Kernels of a shaking camera."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import OperatorError


def motion_kernel(seed: int | Sequence[int] = 0, size: int = 61, intensity: float = 0.5) -> Tensor:
    """A random camera path drawn as a kernel of sum 1: (size, size), or (b, size, size) for a list of seeds.

    The path of the `motionblur` package that DPS and ReSample use: short steps whose direction wanders, drawn one pixel
    wide at twice the size, softened and shrunk. That package draws from numpy's global generator, unseeded; here
    the same distribution comes from a generator of the seed.

    Args:
        seed: of the path.
        size: height and width, in pixels.
        intensity: in [0, 1]; 0 is a straight line, 1 shakes a lot.

    Raises:
        OperatorError: the size is not in 3 to 1025 or the intensity not in [0, 1].
    """
    if not (3 <= size <= 1025 and 0 <= intensity <= 1):
        raise OperatorError(f"a motion kernel has size 3 to 1025 and intensity 0 to 1, not {size} and {intensity:g}")
    if isinstance(seed, int):
        return _kernel(seed, size, intensity)
    return torch.stack([_kernel(s, size, intensity) for s in seed])


def _kernel(seed: int, size: int, intensity: float) -> Tensor:
    if seed < 0:
        raise OperatorError(f"a seed is not negative, unlike {seed}")
    rng = np.random.default_rng(seed)
    diagonal = math.sqrt(2) * 2 * size
    return _draw(_path(rng, diagonal, intensity), size, diagonal)


def _path(rng: np.random.Generator, diagonal: float, intensity: float) -> np.ndarray:
    """Complex positions around 0."""
    steps = _steps(rng, 0.75 * diagonal * (rng.uniform() + rng.uniform(0, intensity**2)), diagonal, intensity)
    widest = rng.uniform(0, intensity * math.pi)
    jitter = rng.beta(2, 20)
    angles = [rng.uniform(-widest, widest)]
    while len(angles) < len(steps):
        turn = rng.triangular(0, intensity * widest, widest + 0.1)
        keep = rng.uniform() >= jitter
        angles.append(math.copysign(turn, angles[-1] if keep else -angles[-1]))
    path = np.cumsum(steps * np.exp(1j * np.array(angles)))
    return np.asarray((path - path.mean()) * np.exp(1j * rng.uniform(0, math.pi)))


def _steps(rng: np.random.Generator, longest: float, diagonal: float, intensity: float) -> np.ndarray:
    """Lengths, all below `longest`, that sum to at least it."""
    steps: list[float] = []
    while sum(steps) < longest:
        step = rng.beta(1, 30) * (1 - intensity + 0.1) * diagonal
        if step < longest:
            steps.append(step)
    return np.array(steps or [0.0])


def _draw(path: np.ndarray, size: int, diagonal: float) -> Tensor:
    from PIL import Image, ImageDraw, ImageFilter

    canvas = Image.new("L", (2 * size, 2 * size))
    points = [(z.real + size, z.imag + size) for z in path]
    ImageDraw.Draw(canvas).line(points, fill=255, width=max(1, int(diagonal / 150)))
    # A path of a single point draws no line.
    x, y = (min(max(int(value), 0), 2 * size - 1) for value in points[0])  # a path may begin beyond the canvas
    canvas.putpixel((x, y), 255)
    soft = canvas.filter(ImageFilter.GaussianBlur(radius=int(diagonal * 0.01)))
    kernel = np.asarray(soft.resize((size, size), Image.Resampling.LANCZOS), dtype=np.float64)
    return torch.from_numpy(kernel / kernel.sum())
