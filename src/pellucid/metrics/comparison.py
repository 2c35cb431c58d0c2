"""Files against files: which belong together, the numbers of each pair, and what can be said of all."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.errors import ImageFileError
from pellucid.images import read
from pellucid.images.atomic import replacing
from pellucid.images.read import SUFFIXES
from pellucid.metrics.errors import MetricError
from pellucid.metrics.metric import Metric, SetMetric
from pellucid.metrics.protocol import PLAIN, Protocol
from pellucid.metrics.statistics import LEVEL, RESAMPLES, summarise


@dataclass(frozen=True)
class Pair:
    """A result and its truth."""

    result: Path
    truth: Path


@dataclass(frozen=True)
class Pairs:
    """What belongs together.

    Attributes:
        pairs: by name.
        alone: pictures on one side only, which are left out.
    """

    pairs: list[Pair]
    alone: list[Path] = field(default_factory=list)


def pair_up(results: Path, truth: Path) -> Pairs:
    """Two files, or the pictures of two folders that have one name without its suffix.

    Raises:
        ImageFileError: a path is missing, a folder meets a file, a folder holds two pictures of one name, or nothing
            belongs together.
    """
    for path in (results, truth):
        if not path.exists():
            raise ImageFileError(f"{path} does not exist")
    if results.is_dir() != truth.is_dir():
        raise ImageFileError(f"{results} and {truth}: one is a folder, the other a file; give two of a kind")
    if not results.is_dir():
        return Pairs([Pair(results, truth)])
    found, true = _by_name(results), _by_name(truth)
    both = sorted(found.keys() & true.keys())
    if not both:
        raise ImageFileError(f"{results} and {truth} have no picture of the same name")
    alone = [pictures[name] for pictures in (found, true) for name in sorted(pictures.keys() - both)]
    return Pairs([Pair(found[name], true[name]) for name in both], alone)


def _by_name(folder: Path) -> dict[str, Path]:
    pictures: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or not path.is_file() or path.name.startswith("."):
            continue
        if path.stem in pictures:
            raise ImageFileError(f"{pictures[path.stem]} and {path} have one name; which is meant cannot be told")
        pictures[path.stem] = path
    return pictures


@dataclass(frozen=True)
class Comparison:
    """All numbers of a comparison, with what has to be said beside them.

    Attributes:
        metrics: in the order asked for.
        protocol: how the pictures were prepared.
        pairs: the files.
        scores: by metric of single images, in the order of the pairs.
        sets: by metric of sets: the number, and how many samples it is of.
    """

    metrics: Sequence[Metric]
    protocol: Protocol
    pairs: Pairs
    scores: dict[str, list[float]]
    sets: dict[str, tuple[float, str]]

    def rows(self) -> list[dict[str, Any]]:
        """A row a metric: over the pairs for metrics of single images, the number itself for metrics of sets."""
        return [self._row(metric) for metric in self.metrics]

    def _row(self, metric: Metric) -> dict[str, Any]:
        row: dict[str, Any] = {"metric": metric.name, "unit": metric.unit, "better": metric.better}
        if metric.per_image:
            summary = summarise(self.scores[metric.name])
            return (
                row
                | {"n": summary.n, "mean": summary.mean}
                | {
                    name: None if math.isnan(value) else value
                    for name, value in (("std", summary.std), ("low", summary.low), ("high", summary.high))
                }
            )
        value, _ = self.sets[metric.name]
        return row | {"n": len(self.pairs.pairs), "mean": value, "std": None, "low": None, "high": None}

    def texts(self) -> list[str]:
        """A sentence a metric: direction, range, clipping, crop, colour, and what the metric itself fixes."""
        sizes = {name: f"; {text}" for name, (_, text) in self.sets.items()}
        return [metric.text(self.protocol) + sizes.get(metric.name, "") for metric in self.metrics]

    def report(self) -> dict[str, Any]:
        """For JSON."""
        names = list(self.scores)
        return {
            "protocol": {
                "text": self.protocol.text,
                "clip": self.protocol.clip,
                "border": self.protocol.border,
                "colour": self.protocol.colour,
            },
            "interval": f"{LEVEL:.0%} BCa bootstrap of the mean over the pairs, {RESAMPLES} resamples, seed 0",
            "metrics": [row | {"text": text} for row, text in zip(self.rows(), self.texts(), strict=True)],
            "files": [
                {"result": str(pair.result), "truth": str(pair.truth), **{name: self.scores[name][i] for name in names}}
                for i, pair in enumerate(self.pairs.pairs)
            ],
            "left_out": [str(path) for path in self.pairs.alone],
        }

    def write_csv(self, path: Path) -> None:
        """A row a file and metric, each with its statement; metrics of sets have no file.

        Raises:
            ImageFileError: the file cannot be written.
        """
        texts = dict(zip((metric.name for metric in self.metrics), self.texts(), strict=True))
        with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["result", "truth", "metric", "value", "statement"])
            for i, pair in enumerate(self.pairs.pairs):
                for name, values in self.scores.items():
                    table.writerow([pair.result, pair.truth, name, repr(values[i]), texts[name]])
            for name, (value, _) in self.sets.items():
                table.writerow(["", "", name, repr(value), texts[name]])


def compare(
    pairs: Pairs,
    metrics: Sequence[Metric],
    protocol: Protocol = PLAIN,
    watch: Callable[[int], None] | None = None,
) -> Comparison:
    """Every metric of every pair; one pair is in memory at a time.

    Args:
        pairs: from `pair_up`.
        metrics: any but those that need the measurement.
        protocol: how pictures are prepared.
        watch: called with the number of pairs that are done.

    Raises:
        MetricError: a metric needs more than pictures, its library or its weights, or does not suit the pictures.
        ImageFileError: a file is no picture, or two that belong together differ in shape.
    """
    for metric in metrics:
        if metric.needs_problem:
            raise MetricError(f"{metric.name} needs the measurement and its operator; files of pictures have neither")
    scores: dict[str, list[float]] = {metric.name: [] for metric in metrics if metric.per_image}
    gathered: dict[str, SetMetric] = {m.name: m.accumulate(protocol) for m in metrics if not m.per_image}
    for done, pair in enumerate(pairs.pairs, 1):
        x, truth = _pixels(pair)
        try:
            with torch.no_grad():
                for metric in metrics:
                    if metric.per_image:
                        scores[metric.name].append(float(metric(x, truth, protocol=protocol)))
                    else:
                        gathered[metric.name].update(x, truth)
        except MetricError as error:
            raise MetricError(f"{pair.result.name}: {error}") from error
        if watch:
            watch(done)
    sets = {name: (metric.compute(), metric.text) for name, metric in gathered.items()}
    return Comparison(metrics, protocol, pairs, scores, sets)


def _pixels(pair: Pair) -> tuple[Tensor, Tensor]:
    pictures = []
    for path in (pair.result, pair.truth):
        picture = read(path)
        if not picture.is_image:
            raise ImageFileError(f"{path} holds the shape {tuple(picture.pixels.shape)}, which is no picture")
        pictures.append(picture.pixels[None])
    x, truth = pictures
    if x.shape != truth.shape:
        shapes = " and ".join(" x ".join(map(str, picture.shape[1:])) for picture in pictures)
        raise ImageFileError(f"{pair.result} and {pair.truth} differ in shape (channels, height, width): {shapes}")
    return x, truth
