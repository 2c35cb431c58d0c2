"""Which copies of a picture the search for near-duplicates finds, and what it takes for one wrongly."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from pellucid.retrieval.decode import content, decode
from pellucid.retrieval.embedder import Embedder
from pellucid.retrieval.fit import thumbnails
from pellucid.retrieval.index import NEAR, SAME
from pellucid.retrieval.source import Item, items

Change = Callable[[Image.Image], Image.Image]


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    out = BytesIO()
    image.save(out, "JPEG", quality=quality)
    return Image.open(out).convert("RGB")


def _part(image: Image.Image, share: float) -> Image.Image:
    across, down = (round(n * (1 - share) / 2) for n in image.size)
    return image.crop((across, down, image.width - across, image.height - down))


CHANGES: dict[str, Change] = {
    "JPEG, quality 50": lambda image: _jpeg(image, 50),
    "JPEG, quality 20": lambda image: _jpeg(image, 20),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC),
    "a quarter of the size": lambda image: image.resize(
        (image.width // 4, image.height // 4), Image.Resampling.BICUBIC
    ),
    "10 % brighter": lambda image: image.point(lambda v: min(255, int(v * 1.1))),
    "blurred, one pixel": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "the middle 95 %": lambda image: _part(image, 0.95),
    "the middle 80 %": lambda image: _part(image, 0.8),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def study(folder: Path, embed: Embedder, every: int = 9) -> dict[str, Any]:
    """Shares of changed pictures that are taken for copies, and the pairs of different ones that nearly are.

    Args:
        folder: of pictures.
        embed: the embedder.
        every: one picture of so many is changed; all are compared with each other.
    """
    vectors: list[Tensor] = []
    small: list[Tensor] = []
    shares: dict[str, list[bool]] = {name: [] for name in CHANGES}
    for number, item in enumerate(i for i in items(folder) if isinstance(i, Item)):
        x = decode(content(item.path), item.name).pixels[None]
        vectors.append(embed.pictures(x)[0])
        small.append(thumbnails(x).float().flatten() / 255)
        if number % every:
            continue
        image = Image.fromarray((255 * x[0]).round().byte().permute(1, 2, 0).numpy())
        for name, change in CHANGES.items():
            shares[name].append(_copy(embed, vectors[-1], small[-1], change(image)))
    e, s = torch.stack(vectors).double(), torch.stack(small).double()
    distance = (1 - e @ e.T).fill_diagonal_(9)
    error = (torch.cdist(s, s).square() / s.shape[1]).fill_diagonal_(9)
    near = error[distance <= NEAR]
    return {
        "near": NEAR,
        "same": SAME,
        "pictures": len(vectors),
        "changed": len(shares["grey"]),
        "embedder": embed.name,
        "found": {name: float(np.mean(values)) for name, values in shares.items()},
        "pairs_within_distance": int(len(near) / 2),
        "their_least_error": float(near.min()) if len(near) else None,
        "pairs_taken_for_copies": int((near <= SAME).sum() / 2),
    }


def _copy(embed: Embedder, vector: Tensor, thumbnail: Tensor, changed: Image.Image) -> bool:
    y = torch.from_numpy(np.array(changed)).permute(2, 0, 1)[None] / 255
    close = float(1 - vector @ embed.pictures(y)[0]) <= NEAR
    return close and float((thumbnails(y).float().flatten() / 255 - thumbnail).square().mean()) <= SAME
