"""Pictures side by side: the measurement, what the methods make of it, the truth; and where they differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.bench.report.figures import Drawn, canvas, save
from pellucid.bench.report.results import Group, Results, Row
from pellucid.images import read
from pellucid.metrics import psnr
from pellucid.operators import parse

ZOOM = 4  # the zoomed box is this many times smaller than the picture
INCHES, DPI = 1.55, 150
MOST = 9  # methods beside each other


@dataclass(frozen=True)
class Column:
    """What one method made of one picture.

    Attributes:
        label: the method's.
        samples: (seeds, c, h, w).
        residual: |y - A(x)| of the first sample where measurements are pictures, (h', w').
    """

    label: str
    samples: Tensor
    residual: Tensor | None


def draw(results: Results, out: Path, pictures: int) -> Iterator[Drawn]:
    """A grid for some pictures of every task, if pictures were saved: evenly chosen by name."""
    for group in results.groups:
        names = sorted({row["image"] for row in group.rows})
        places = torch.linspace(0, len(names) - 1, min(pictures, len(names))).round().long().unique().tolist()
        for name in [names[place] for place in places]:
            rows = [row for row in group.rows if row["image"] == name]
            truth_file = next((p for row in rows if (p := results.picture(row, f"truth-{name}.png"))), None)
            y_file = next((p for row in rows if (p := results.picture(row, _measurement(row)))), None)
            if truth_file is None:
                continue
            y = None if y_file is None else read(y_file).pixels
            columns = [c for label in _shown(group) if (c := _column(results, group, label, name, y)) is not None]
            if not columns:
                continue
            path = f"grid-{group.name}-{name}.png"
            _grid(columns, y, read(truth_file).pixels, name, out / path)
            yield Drawn(path, _caption(name, columns), group)


def _measurement(row: Row) -> str:
    """The file of what was measured; rows of earlier versions have it by the names of the task and the picture."""
    if row.get("measurement") is not None:
        return f"y-{row['measurement']}.png"
    return f"y-{row['task']}-{row['noise'].replace(' ', '')}-{row['image']}.png"


def _shown(group: Group) -> list[str]:
    """All methods; where they would not fit, of those that differ in their number of calls alone the one with most."""
    if len(group.labels) <= MOST:
        return group.labels
    last = {row["family"]: row["label"] for row in group.rows}  # rows are sorted by calls
    return list(last.values())[:MOST]


def _caption(name: str, columns: list[Column]) -> str:
    seeds = max(len(column.samples) for column in columns)
    spread = f" Below: the spread over {seeds} seeds." if seeds > 1 else ""
    return (
        f"{name}: the measurement, the results (PSNR in dB, clipped to [0, 1]) and the truth; the marked box enlarged; "
        f"the error |x - truth|, white is 0.25; the residual |y - A(x)|, white is 0.1.{spread} Pictures of 8 bits."
    )


def _column(results: Results, group: Group, label: str, name: str, y: Tensor | None) -> Column | None:
    rows = [row for row in group.of(label) if row["image"] == name]
    files = [path for row in rows if (path := results.picture(row, f"{row['key']}.png")) is not None]
    if not files:
        return None
    samples = torch.stack([read(path).pixels for path in files])
    residual = None
    if y is not None:
        operator = parse(rows[0]["operator"]).build(tuple(samples.shape[1:]))
        if operator.measurement_shape == tuple(y.shape):
            residual = (operator(samples[:1])[0] - y).abs().mean(0)
    return Column(label, samples, residual)


def box(truth: Tensor) -> tuple[int, int, int]:
    """(top, left, side) of the most detailed square: where the squared differences of neighbours are largest."""
    grey = truth.mean(0)
    detail = torch.zeros_like(grey)
    detail[:-1, :-1] = (grey[1:, :-1] - grey[:-1, :-1]) ** 2 + (grey[:-1, 1:] - grey[:-1, :-1]) ** 2
    side = max(1, min(grey.shape) // ZOOM)
    sums = torch.nn.functional.avg_pool2d(detail[None, None], side, stride=max(1, side // 4))[0, 0]
    place = int(sums.argmax())
    top, left = (index * max(1, side // 4) for index in divmod(place, sums.shape[1]))
    return top, left, side


def _grid(columns: list[Column], y: Tensor | None, truth: Tensor, name: str, path: Path) -> None:
    from matplotlib.patches import Rectangle

    spread = any(len(column.samples) > 1 for column in columns)
    residuals = any(column.residual is not None for column in columns)
    rows = 3 + residuals + spread
    figure = canvas(INCHES * (len(columns) + 2), (INCHES + 0.1) * rows)
    grid = figure.add_gridspec(rows, len(columns) + 2)
    top, left, side = box(truth)

    def put(row: int, column: int, picture: Tensor, title: str = "", white: float | None = None) -> Any:
        axes = figure.add_subplot(grid[row, column])
        axes.set_axis_off()
        if white is not None:
            axes.imshow(picture.numpy(), cmap="magma", vmin=0, vmax=white, interpolation="nearest")
        elif picture.shape[0] == 1:
            axes.imshow(picture[0].clamp(0, 1).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        else:
            axes.imshow(picture.clamp(0, 1).permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set_title(title, fontsize=8)
        return axes

    def both(column: int, picture: Tensor, title: str) -> None:
        scale = picture.shape[-1] / truth.shape[-1]
        t, w, s = (round(v * scale) for v in (top, left, side))
        axes = put(0, column, picture, title)
        axes.add_patch(Rectangle((w - 0.5, t - 0.5), s, s, fill=False, edgecolor="#E69F00", linewidth=1.2))
        if s >= 2:
            put(1, column, picture[:, t : t + s, w : w + s])

    if y is not None:
        both(0, y, "y")
    both(len(columns) + 1, truth, "truth")
    std_white = max((float(c.samples.std(0).mean(0).max()) for c in columns if len(c.samples) > 1), default=1.0)
    for index, column in enumerate(columns, 1):
        sample = column.samples[0]
        both(index, sample, f"{column.label}  {float(psnr(sample[None], truth[None])[0]):.2f}")
        put(2, index, (sample - truth).abs().mean(0), white=0.25)
        if column.residual is not None:
            put(3, index, column.residual, white=0.1)
        if len(column.samples) > 1:
            put(rows - 1, index, column.samples.std(0).mean(0), white=max(std_white, 1e-6))
    words = ["", "", "|x - truth|", *(["|y - A(x)|"] if residuals else []), *(["std over seeds"] if spread else [])]
    for row, word in enumerate(words):
        if word:
            axes = figure.add_subplot(grid[row, 0])
            axes.set_axis_off()
            axes.text(1, 0.5, word, ha="right", va="center", fontsize=8)
    save(figure, path, DPI)
