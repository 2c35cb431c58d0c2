"""The two degradations that Dirac's claims are tested on, and who runs on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid import methods, zoo
from pellucid.bench.data import Image, stacked
from pellucid.bench.measuring import number
from pellucid.bench.plan import Data
from pellucid.method import Method
from pellucid.operators.text import parse
from pellucid.prior.base import Prior
from pellucid.problem import Problem

NOISE = 0.05
TASKS = {
    "blur": ("gaussian-blur:std=3,kernel_size=61,truncate=6", "photo-dirac-blur"),
    "hole": ("soft-mask:std=25", "photo-dirac-inpaint"),
}


@dataclass(frozen=True)
class Measured:
    """Pictures and what was measured of them.

    Attributes:
        images: their names and files.
        truth: (b, c, h, w).
        problem: of all.
        seeds: one a picture.
    """

    images: Sequence[Image]
    truth: Tensor
    problem: Problem
    seeds: Sequence[int]


def measured(task: str, data: Data, images: Sequence[Image]) -> Measured:
    """The measurements of some pictures; noise depends on a picture's name alone."""
    truth = stacked(data, list(images))
    operator = parse(TASKS[task][0]).build(tuple(truth.shape[1:]))
    seeds = [number("dirac", task, image.name) for image in images]
    noise = torch.stack([torch.randn(truth.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    return Measured(images, truth, Problem(operator(truth) + NOISE * noise, operator, NOISE), seeds)


def runs(task: str, precision: str, others: Sequence[tuple[str, str, int]]) -> Iterator[tuple[str, Prior, Method]]:
    """(label, prior, method): Dirac with its own prior, 50 calls and no guidance, and others (label, name, calls)."""
    yield "dirac", zoo.load(TASKS[task][1], "cpu", precision), methods.get("dirac").build(nfe=50)
    photo = zoo.load("photo", "cpu", precision)
    for label, name, calls in others:
        yield label, photo, methods.get(name).build(nfe=calls)
