"""Whether samples of Dirac are as far apart as they are wrong."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.bench.claims.dirac_runs import TASKS, measured, runs
from pellucid.bench.data import Image, collect, stacked
from pellucid.bench.plan import Data
from pellucid.images.atomic import replacing
from pellucid.loop import reconstruct
from pellucid.metrics.association import pearson, ranks
from pellucid.metrics.pixels import psnr
from pellucid.problem import Problem

SAMPLES = 16
COLUMNS = ("task", "image", "psnr_sample", "psnr_mean", "rmse", "std", "inside", "spearman", "ranks")
SHOWN = 2  # pictures a task, in the picture of maps
BLOCK = 4  # pixels: maps are compared over blocks, since one pixel's error is mostly chance


def study(data: Data, out: Path, precision: str = "bfloat16") -> None:
    """Appends to a CSV file what is not in it yet, and writes OUT's name with .jpg: the maps of the first pictures.

    A row is one picture: PSNR of one sample and of the mean of 16; the error of the mean and the spread of the samples
    (rms over pixels; a sample of the same law as the truth has std sqrt(17 / 16) = rmse); the share of pixels whose
    truth lies inside the samples' range, 15 / 17 for the exact posterior; the rank correlation of the spread with the
    error of the mean over blocks of 4 pixels; and how often the truth has each of the 17 ranks among the samples.
    """
    images = collect(data)
    done = _done(out)
    maps: dict[tuple[str, str], Tensor] = {}
    with out.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not done:
            writer.writerow(COLUMNS)
        for task in TASKS:
            for k, image in enumerate(images):
                if (task, image.name) in done and (k >= SHOWN or out.with_suffix(".jpg").exists()):
                    continue
                y, samples = sampled(task, data, image, precision)
                truth = stacked(data, [image])[0]
                if k < SHOWN:
                    maps[task, image.name] = shown(truth, y, samples)
                if (task, image.name) not in done:
                    figures = judged(truth, samples)
                    writer.writerow([task, image.name] + [f"{v:.5g}" if isinstance(v, float) else v for v in figures])
                    file.flush()
    if len(maps) == SHOWN * len(TASKS):
        draw(list(maps.values()), out.with_suffix(".jpg"))


def _done(out: Path) -> set[tuple[str, str]]:
    if not out.exists():
        return set()
    with out.open(newline="", encoding="utf-8") as file:
        return {(row["task"], row["image"]) for row in csv.DictReader(file)}


def sampled(task: str, data: Data, image: Image, precision: str) -> tuple[Tensor, Tensor]:
    """(y (c, h, w), 16 samples (16, c, h, w)) of one measurement."""
    one = measured(task, data, [image])
    _, prior, method = next(iter(runs(task, precision, ())))
    y = one.problem.y
    problem = Problem(y.expand(SAMPLES, -1, -1, -1), one.problem.operator, one.problem.noise_std)
    seeds = [one.seeds[0] + 1 + k for k in range(SAMPLES)]
    return y[0], reconstruct(problem, prior, method, seeds=seeds).image


def judged(truth: Tensor, samples: Tensor) -> list[Any]:
    """The figures of a row."""
    mean, std = samples.mean(0), samples.std(0)
    error = (mean - truth).square()
    places = (samples < truth).sum(0)
    counts = torch.bincount(places.flatten(), minlength=SAMPLES + 1)
    blocks = [torch.nn.functional.avg_pool2d(v.mean(0)[None], BLOCK).flatten().numpy() for v in (std**2, error)]
    inside = float(((places > 0) & (places < SAMPLES)).float().mean())
    return [
        float(psnr(samples[:1], truth[None])),
        float(psnr(mean[None], truth[None])),
        float(error.mean().sqrt()),
        float(std.square().mean().sqrt()),
        inside,
        pearson(ranks(np.asarray(blocks[0], float)), ranks(np.asarray(blocks[1], float))),
        " ".join(str(int(c)) for c in counts),
    ]


def shown(truth: Tensor, y: Tensor, samples: Tensor) -> Tensor:
    """Truth, y, two samples, their mean, the spread, the error of the mean, side by side, (c, h, 7 w) in [0, 1]."""
    spread = samples.std(0).mean(0, keepdim=True).expand_as(truth)
    error = (samples.mean(0) - truth).square().mean(0, keepdim=True).sqrt().expand_as(truth)
    scale = 1 / float(torch.quantile(error.flatten()[:100000], 0.99).clamp(min=1e-6))
    parts = [truth, y, samples[0], samples[1], samples.mean(0), scale * spread, scale * error]
    return torch.cat([part.clamp(0, 1) for part in parts], -1)


def draw(rows: list[Tensor], out: Path) -> None:
    """The rows below each other, as a JPEG."""
    from PIL import Image as Picture

    pixels = (torch.cat(rows, -2).permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    with replacing(out) as partial:
        Picture.fromarray(pixels).save(partial, quality=88)
