"""Figures by which a set of vectors can be compared with another: cosines, dimensions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pellucid.bench.retrieval.clustered import Clustered
from pellucid.retrieval.decode import content, decode
from pellucid.retrieval.embedder import Embedder
from pellucid.retrieval.source import Item, items


def figures(x: np.ndarray, of: np.ndarray, neighbours: int = 10) -> dict[str, float]:
    """Cosines and dimensions of vectors of length 1, pairs of one picture left out.

    The local dimension is the estimate of Levina and Bickel (NIPS 2004), averaged in its inverse, 1 / mean of
    log(T_k / T_j), T_j being the distance of the j-th neighbour; the global one (sum l)^2 / sum l^2 of the covariance's
    eigenvalues l.

    Args:
        x: (n, d).
        of: (n,) which picture each is from.
        neighbours: k.
    """
    cosines = x @ x.T
    same = of[:, None] == of[None]
    apart = cosines[~same]
    nearest = np.sort(np.where(same, -2, cosines), 1)[:, ::-1]
    distances = np.sqrt(np.clip(2 - 2 * nearest[:, : neighbours + 1], 1e-12, None))
    eigenvalues = np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2
    return {
        "cosine_mean": float(apart.mean()),
        "cosine_std": float(apart.std()),
        "cosine_first": float(nearest[:, 0].mean()),
        "cosine_twentieth": float(nearest[:, 19].mean()),
        "local_dimension": float(1 / np.log(distances[:, neighbours:] / distances[:, :neighbours]).mean()),
        "global_dimension": float(eigenvalues.sum() ** 2 / (eigenvalues**2).sum()),
    }


def of_photographs(
    folder: Path, embed: Embedder, crops: int = 2, side: int = 288, seed: int = 0
) -> tuple[int, dict[str, float]]:
    """(How many crops, their figures): squares of the embedder's side from pictures whose shorter side is `side`."""
    random = np.random.default_rng(seed)
    vectors, of = [], []
    for number, item in enumerate(items(folder)):
        if not isinstance(item, Item):
            continue
        x = decode(content(item.path), item.name).pixels[None]
        scale = side / min(x.shape[-2:])
        size = [max(embed.side, round(n * scale)) for n in x.shape[-2:]]
        x = torch.nn.functional.interpolate(x, size, mode="bicubic", antialias=True).clamp(0, 1)
        for _ in range(crops):
            top, left = (int(random.integers(n - embed.side + 1)) for n in size)
            vectors.append(embed.pictures(x[..., top : top + embed.side, left : left + embed.side]))
            of.append(number)
    return len(of), figures(torch.cat(vectors).numpy(), np.array(of))


def of_generator(count: int, dimension: int, seed: int = 0) -> dict[str, float]:
    """The figures of as many of its vectors."""
    return figures(Clustered(dimension, seed=seed).draw(count), np.arange(count))
