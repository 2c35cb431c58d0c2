"""Small collections of pictures of chance, and the embedder that needs no weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("lancedb")


def draw(seed: int, height: int = 40, width: int = 48) -> Image.Image:
    """Smooth waves of chance: pictures that differ everywhere and survive compression."""
    random = np.random.default_rng(seed)
    down, across = np.mgrid[:height, :width] / 40
    planes = []
    for _ in range(3):
        a, b, c = random.uniform(1, 9, 3)
        planes.append(0.5 + 0.4 * np.sin(a * down + c) * np.cos(b * across + a))
    return Image.fromarray((255 * np.stack(planes, 2)).astype(np.uint8))


def fill(folder: Path, count: int, first: int = 0) -> Path:
    """`count` PNGs."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        draw(number).save(folder / f"p{number:03d}.png")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve pictures."""
    return fill(tmp_path / "photos", 12)
