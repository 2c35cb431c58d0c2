"""What the estimate is like along a run: claims D1 and D3."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.bench.claims.collect import replicates
from pellucid.bench.claims.dirac_runs import NOISE, TASKS, Measured, measured, runs
from pellucid.bench.data import collect, stacked
from pellucid.bench.plan import Data
from pellucid.loop import reconstruct
from pellucid.method import Method
from pellucid.metrics.effnet import EffnetFrechet, effnet_distance
from pellucid.metrics.pixels import psnr
from pellucid.operators.base import Spectral
from pellucid.prior.base import Prior
from pellucid.step import Step

COLUMNS = ("task", "label", "image", "share", "calls", "psnr", "effnet_distance", "residual")
SHARES = 10  # of a run, and its first step
OTHERS = (("dps", "dps", 100), ("ddrm", "ddrm", 20), ("ddnm+", "ddnm+", 100), ("diffpir", "diffpir", 100))
BATCH = 6
FLOOR = "floor"


def study(data: Data, out: Path, precision: str = "bfloat16") -> None:
    """Appends to a CSV file what is not in it yet; a killed run goes on.

    A row is the network's estimate x0_hat at a share of a run's steps: PSNR (clipped), feature distance, and the
    residual |y - A x0_hat|^2 / (n sigma^2). Rows of `floor` have the expected residual of the exact posterior mean of
    a Gaussian prior with the pictures' own mean square along every singular vector of A, for the blur, whose singular
    vectors are waves: it is below 1, as a mean follows some of the noise.
    """
    images = collect(data)
    done = _done(out)
    with out.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not done:
            writer.writerow(COLUMNS)
        for task in TASKS:
            every = measured(task, data, images)
            if task == "blur" and (task, FLOOR, images[0].name) not in done:
                writer.writerow((task, FLOOR, images[0].name, 0, 0, "", "", f"{floor(every):.5g}"))
            for label, prior, method in runs(task, precision, OTHERS):
                left = [image for image in images if (task, label, image.name) not in done]
                sets = out.with_name(f"{out.stem}-sets.csv")
                unmeasured = label == "dirac" and task not in _tasks(sets)
                kept: dict[float, list[Tensor]] = {}
                asked = images if unmeasured else left  # distances of sets need all pictures
                for first in range(0, len(asked), BATCH):
                    some = measured(task, data, asked[first : first + BATCH])
                    for row in along(some, prior, method, kept):
                        if (task, label, row[0]) not in done:
                            writer.writerow([task, label] + [f"{v:.5g}" if isinstance(v, float) else v for v in row])
                    file.flush()
                if unmeasured:
                    save_sets(sets, task, stacked(data, images), kept)


def _done(out: Path) -> set[tuple[str, str, str]]:
    if not out.exists():
        return set()
    with out.open(newline="", encoding="utf-8") as file:
        return {(row["task"], row["label"], row["image"]) for row in csv.DictReader(file)}


def _tasks(sets: Path) -> set[str]:
    if not sets.exists():
        return set()
    with sets.open(newline="", encoding="utf-8") as file:
        return {row["task"] for row in csv.DictReader(file)}


def along(
    some: Measured, prior: Prior, method: Method, kept: dict[float, list[Tensor]] | None = None
) -> list[tuple[Any, ...]]:
    """(image, share, calls, psnr, distance, residual) at the chosen steps of one run; `kept` gets the estimates."""
    total = method.steps(prior.process)
    chosen = {round(k * (total - 1) / SHARES): k / SHARES for k in range(SHARES + 1)}
    rows: list[tuple[Any, ...]] = []
    problem = some.problem

    def watch(step: Step) -> None:
        if step.index not in chosen:
            return
        x0 = prior.codec.decode(step.raw.x0)
        if kept is not None:
            kept.setdefault(chosen[step.index], []).append(x0.clamp(0, 1))
        residual = (problem.y - problem.operator(x0)).square().flatten(1).mean(1) / NOISE**2
        figures = zip(psnr(x0, some.truth), effnet_distance(x0.clamp(0, 1), some.truth), residual, strict=True)
        for image, (gain, distance, rest) in zip(some.images, figures, strict=True):
            rows.append((image.name, chosen[step.index], step.index + 1, float(gain), float(distance), float(rest)))

    reconstruct(problem, prior, method, seeds=some.seeds, callback=watch)
    return rows


def save_sets(out: Path, task: str, truth: Tensor, kept: dict[float, list[Tensor]]) -> None:
    """Adds to a CSV file the Fréchet distance at each share of the run, and its replicates under resampled pictures."""
    whole = EffnetFrechet()

    def features(pictures: Tensor) -> Tensor:
        return whole.features(pictures.float()).unflatten(0, (len(pictures), -1))

    true, new = features(truth), not out.exists()
    with out.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(("task", "share", "frechet"))
        for share, parts in sorted(kept.items()):
            numbers = replicates(features(torch.cat(parts)), true)
            writer.writerow((task, share, " ".join(f"{v:.4g}" for v in numbers)))


def floor(every: Measured) -> float:
    """mean_i sigma^2 / (s_i^2 c_i + sigma^2), c_i the mean of (V^T x)_i^2 over the pictures and channels."""
    operator = every.problem.operator
    assert isinstance(operator, Spectral)
    x = every.truth.double()
    power = operator.to_spectrum(x).square().mean((0, 1), keepdim=True)
    s = operator.singular_values(x)
    return float((NOISE**2 / (s**2 * power + NOISE**2)).mean(dtype=torch.float64))
