"""What to look for in a collection: A^+ y, a first reconstruction, or the mean of both embeddings.

The measure is what the true picture would have found, which no method knows: how many of the k nearest agree with the
true picture's, and how near the found ones are to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid import methods
from pellucid.bench.claims.results import save_table
from pellucid.bench.data import Image, collect, load
from pellucid.bench.measuring import number
from pellucid.bench.plan import Data
from pellucid.loop import reconstruct
from pellucid.noise import SeededNoise
from pellucid.operators import parse
from pellucid.operators.base import LinearOperator
from pellucid.prior.base import Prior
from pellucid.problem import Problem
from pellucid.retrieval import Index

TASKS = {
    "sr4": ("bicubic:factor=4", 0.0),
    "sr8": ("bicubic:factor=8", 0.0),
    "deblur": ("uniform-blur:size=5", 10 / 255),
    "grey": ("grey", 0.0),
    "holes": ("mask:random=0.9", 0.02),
}
QUERIES = ("measurement", "reconstruction", "both")
COLUMNS = ("task", "image", "query", "agree", "similarity", "best")


def study(prior: Prior, index: Index, data: Data, out: Path, k: int = 20, calls: int = 20) -> None:
    """A line for every picture, task and query: agreement with the truth's k nearest, and cosine to the truth.

    Args:
        prior: of the first reconstruction, by DDRM.
        index: the collection; of an embedder with vectors of unit length.
        data: the pictures.
        out: a CSV file.
        k: how many are looked for.
        calls: of the first reconstruction.

    Raises:
        ConfigError, ImageFileError: the pictures cannot be read.
    """
    rows: list[Mapping[str, Any]] = []
    for image in collect(data):
        for task, (text, std) in TASKS.items():
            found = _rows(prior, index, load(data, image.path)[None], Setting(text, std, _seed(data, image), k, calls))
            rows += [{"task": task, "image": image.name, **row} for row in found]
    save_table(out, rows, COLUMNS)


@dataclass(frozen=True)
class Setting:
    """What is measured, and how it is looked for."""

    operator: str
    std: float
    seed: int
    k: int
    calls: int


def _seed(data: Data, image: Image) -> int:
    return number("queries", data.seed, image.name)


def _rows(prior: Prior, index: Index, truth: Tensor, setting: Setting) -> list[dict[str, Any]]:
    operator, k = parse(setting.operator).build(tuple(truth.shape[1:])), setting.k
    assert isinstance(operator, LinearOperator)
    clean, seeds = operator(truth), [setting.seed]
    problem = Problem(clean + setting.std * SeededNoise(seeds).normal(clean, 0, "measured"), operator, setting.std)
    first = reconstruct(problem, prior, methods.ddrm(nfe=setting.calls), seeds=seeds).image.clamp(0, 1)
    seen = operator.pinv(problem.y).clamp(0, 1)
    queries = {"measurement": seen, "reconstruction": first, "both": torch.cat([seen, first])}
    ranked = index.search(index.embed(truth), len(index), exact=True, pictures=False)
    cosines = {found.sha256: 1 - found.distance for found in ranked}  # the nearest to the truth first
    return [{"query": name, **_measured(index, cosines, queries[name], k)} for name in QUERIES]


def _measured(index: Index, cosines: Mapping[str, float], query: Tensor, k: int) -> dict[str, float]:
    found = [one.sha256 for one in index.search(index.embed(query), k, exact=True, pictures=False)]
    near = [cosines[one] for one in found]
    agree = len(set(found) & set(list(cosines)[:k])) / k
    return {"agree": agree, "similarity": sum(near) / k, "best": max(near)}
