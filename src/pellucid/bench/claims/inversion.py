"""The noise that a network predicts on the way up, against N(0, I): claim S5."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.bench.data import Image, collect, stacked
from pellucid.bench.measuring import number
from pellucid.bench.plan import Data
from pellucid.grid import Inclusive
from pellucid.noise import SeededNoise
from pellucid.operators.resize import Bicubic
from pellucid.prior.base import Prior, State
from pellucid.transition import Inversion, beta
from pellucid.typing import expand

COLUMNS = ("image", "factor", "eta", "t", "mean", "std", "kl_channels", "mixed_mean", "mixed_std", "mixed_kl_channels")
FACTORS, ETAS = (1, 2, 4, 8), (0.0, 0.4)
POINTS, TOP = 15, 0.55  # of SSD at 100 calls


@dataclass(frozen=True)
class Noise:
    """What was predicted at one point of the way up, and what the next state was made with, all (b, c, h, w).

    Attributes:
        t: the time.
        share: r = eta beta / sigma_s^2, the share of the next state's noise that is fresh.
        predicted: eps.
        mixed: epstilde of eq. (12), (sqrt(sigma_s^2 - eta beta) eps + sqrt(eta beta) z) / sigma_s.
        reached: the next state.
    """

    t: float
    share: float
    predicted: Tensor
    mixed: Tensor
    reached: Tensor


def gaussian_kl(mean: Tensor, std: Tensor) -> Tensor:
    """KL( N(mean, std^2) || N(0, 1) ) = (std^2 + mean^2 - 1 - ln std^2) / 2, eq. (38) of the paper."""
    return (std**2 + mean**2 - 1 - torch.log(std**2)) / 2


def mixed_moments(mean: float, std: float, share: float) -> tuple[float, float]:
    """Mean and standard deviation of epstilde for eps ~ N(mean, std^2), by eq. (13) to (16)."""
    return (1 - share) ** 0.5 * mean, (1 + (1 - share) * (std**2 - 1)) ** 0.5


@torch.no_grad()
def climb(prior: Prior, x: Tensor, seeds: Sequence[int], eta: float, points: int = POINTS) -> Iterator[Noise]:
    """SSD's way up from x (b, c, h, w), in the prior's space, as in `pellucid.start.inversion.Ascend`.

    Args:
        prior: of a discrete process.
        x: taken as the state at the lowest time.
        seeds: of the fresh noise, one a picture.
        eta: its share; 0 is DDIM inversion.
        points: of the grid, up to TOP.
    """
    process, rule, noise = prior.process, Inversion(eta), SeededNoise(list(seeds))
    top = process.on_grid(torch.full((len(x),), TOP * process.t_max, dtype=torch.float64))
    for index, (t, s) in enumerate(pairwise(Inclusive(points).times(process, top)[:-1].flip(0))):
        state = State(x, t, index)
        estimate = prior.estimate(state)
        if prior.codec.bounds is not None:
            estimate = estimate.clipped(prior.codec.bounds, state, process, "keep")
        k, nu = rule.weights(process, t, s, estimate)
        fresh = expand(k, x) * estimate.eps + expand(nu, x) * noise.normal(x, index, "ascend")
        share = float((eta * beta(process, s, t) / process.sigma(s) ** 2)[0])
        x = process.mean(estimate.x0, s) + fresh
        yield Noise(float(t[0]), share, estimate.eps, fresh / expand(process.sigma(s), x), x)


def study(prior: Prior, data: Data, out: Path, batch: int = 4) -> None:
    """Appends to a CSV file what is not in it yet; a killed run goes on."""
    images = collect(data)
    done = _done(out)
    new = not out.exists()
    with out.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        for factor in FACTORS:
            for eta in ETAS:
                left = [i for i in images if (i.name, str(factor), str(eta)) not in done]
                for first in range(0, len(left), batch):
                    for row in _rows(prior, data, left[first : first + batch], factor, eta):
                        writer.writerow([f"{v:.5g}" if isinstance(v := row[c], float) else v for c in COLUMNS])
                    file.flush()


def _done(out: Path) -> set[tuple[str, str, str]]:
    if not out.exists():
        return set()
    with out.open(newline="", encoding="utf-8") as file:
        return {(row["image"], row["factor"], f"{float(row['eta'])}") for row in csv.DictReader(file)}


def _rows(prior: Prior, data: Data, images: list[Image], factor: int, eta: float) -> list[dict[str, Any]]:
    x = degraded(stacked(data, images), factor)
    seeds = [number("inversion", 0, image.name) for image in images]
    rows: list[dict[str, Any]] = []
    for point in climb(prior, prior.codec.encode(x), seeds, eta):
        for i, image in enumerate(images):
            row: dict[str, Any] = {"image": image.name, "factor": factor, "eta": eta, "t": point.t}
            for name, eps in (("", point.predicted[i]), ("mixed_", point.mixed[i])):
                channels = eps.flatten(1)
                row[name + "mean"], row[name + "std"] = float(eps.mean()), float(eps.std())
                row[name + "kl_channels"] = float(gaussian_kl(channels.mean(1), channels.std(1)).mean())
            rows.append(row)
    return rows


def degraded(x: Tensor, factor: int) -> Tensor:
    """A^+ A x for bicubic reduction by `factor`; x itself for 1."""
    if factor == 1:
        return x
    operator = Bicubic(tuple(x.shape[1:]), factor)
    return operator.pinv(operator(x))
