"""The pictures of docs/severity.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pellucid.bench.claims.plots import _matplotlib
from pellucid.bench.claims.results import MissingResults
from pellucid.bench.claims.severity_figures import effects
from pellucid.bench.claims.severity_study import BLUR, OPENING, SHIPPED

Run = Mapping[str, Any]
COLOURS = {"128": "#c84c09", "256": "#0b6e4f"}
GREY = "#8a8a8a"
EXTREMES = 4


def part(runs: Run, name: str, key: str) -> Run:
    """What a study holds. Raises `MissingResults`."""
    try:
        found: Run = runs[name][key]
    except KeyError as error:
        raise MissingResults(f"severity.json lacks {name}: {key}") from error
    return found


def scatter(runs: Run, path: Path) -> None:
    """Predicted against true variance, a panel for every shipped encoder."""
    names = [name for name in SHIPPED if name in runs.get("errors", {})]
    if not names:
        raise MissingResults("severity.json holds no errors")
    figure = _matplotlib()(figsize=(2.6 * len(names), 2.9), layout="constrained")
    for place, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), 1 + place)
        everything: list[float] = []
        for size, run in runs["errors"][name]["sizes"].items():
            axes.plot(run["predicted"], run["true"], ".", color=COLOURS.get(size, GREY), markersize=3, label=size)
            everything += [*run["predicted"], *run["true"]]
        ends = [min(everything) / 1.2, max(everything) * 1.2]
        axes.plot(ends, ends, "-", color=GREY, linewidth=0.8)
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel="predicted", ylabel="" if place else "true")
        axes.set_title(name.removeprefix("photo-severity-"), fontsize=10)
        axes.set_aspect("equal")
        if not place:
            axes.legend(title="pixels", fontsize=7, title_fontsize=7, frameon=False)
    _save(figure, path)


def rises(runs: Run, path: Path) -> None:
    """The predicted error against the blur: a line a picture, and the pictures that lie farthest off."""
    run = part(runs, "blur", BLUR)
    low, high = extremes(run)
    figure = _matplotlib()(figsize=(8, 3.4), layout="constrained")
    for place, (key, title) in enumerate((("predicted", "predicted"), ("true", "true"))):
        axes = figure.add_subplot(1, 2, place + 1)
        for k, row in enumerate(run[key]):
            colour = "#c84c09" if k in high else "#1f5fa8" if k in low else "#c9c9c9"
            axes.plot(run["stds"], np.sqrt(row), color=colour, linewidth=1.2 if colour != "#c9c9c9" else 0.8)
        axes.set(xlabel="standard deviation of the blur / pixels", ylabel="error of a latent, rms", yscale="log")
        axes.set_title(f"{title}, a line for each picture", fontsize=10)
    _save(figure, path)


def extremes(run: Run) -> tuple[list[int], list[int]]:
    """The pictures that are thought easiest and hardest at equal blur, the farthest first."""
    order = [int(k) for k in np.argsort(effects(run["predicted"]))]
    return order[:EXTREMES], order[::-1][:EXTREMES]


def outliers(runs: Run, crops: Mapping[int, Tensor], path: Path) -> None:
    """Those pictures themselves. Raises `MissingResults` without them."""
    run = part(runs, "blur", BLUR)
    if not crops:
        raise MissingResults("the pictures of the study are not here")
    x, off, detail = crops[max(crops)], effects(run["predicted"]), np.asarray(run["edges"])
    figure = _matplotlib()(figsize=(8, 4.6), layout="constrained")
    for row, chosen in enumerate(extremes(run)):
        for column, k in enumerate(chosen):
            axes = figure.add_subplot(2, EXTREMES, 1 + row * EXTREMES + column)
            axes.imshow(x[k].permute(1, 2, 0).numpy().clip(0, 1))
            axes.set_axis_off()
            place = int((detail < detail[k]).sum()) + 1
            axes.set_title(f"variance x {np.exp(off[k]):.2f}\nedges: {place} of {len(detail)}", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90, pil_kwargs={"quality": 85})


def opening(runs: Run, path: Path) -> None:
    """A darkened picture against a noisy one of the same PSNR: predicted and true."""
    known = [runs["opening"][light] for light in OPENING if light in runs.get("opening", {})]
    if not known:
        raise MissingResults("severity.json lacks the opening")
    found = {c: rows for entry in known for c, rows in entry["factors"].items()}
    figure = _matplotlib()(figsize=(7, 3.4), layout="constrained")
    for place, key in enumerate(("predicted", "true")):
        axes = figure.add_subplot(1, 2, place + 1)
        everything: list[float] = []
        for (c, rows), colour in zip(found.items(), ("#9bc4bc", "#3d8f7d", "#06392a", "#c84c09"), strict=False):
            axes.plot(rows[f"dark {key}"], rows[f"noisy {key}"], "o", color=colour, markersize=3.5, label=f"c = {c}")
            everything += [*rows[f"dark {key}"], *rows[f"noisy {key}"]]
        ends = [min(everything) / 1.2, max(everything) * 1.2]
        axes.plot(ends, ends, "-", color=GREY, linewidth=0.8)
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel="of y = c x", ylabel="of the noisy picture")
        axes.tick_params(which="minor", labelbottom=False)  # labels of half a decade run into each other
        axes.set_title(f"{key} variance", fontsize=10)
        axes.legend(frameon=False, fontsize=8)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, metadata={"Software": None})


PLOTS: dict[str, Callable[[Run, Path], None]] = {
    "severity-scatter": scatter,
    "severity-blur": rises,
    "severity-opening": opening,
}
