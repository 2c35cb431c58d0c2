"""The pictures of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.bench.claims.results import MissingResults, Results
from pellucid.bench.claims.ssd import CURVES, ETAS, kl
from pellucid.bench.store import Store
from pellucid.errors import ConfigError
from pellucid.images import read

CALLS = (10, 20, 30, 50, 100)
COLOURS = {"ssd": "#0b6e4f", "ddnm": "#c84c09", "ddrm": "#5c4d7d"}


def quality(results: Results, figure: Any) -> None:
    """Feature distance and PSNR against network calls."""
    for row, (column, name) in enumerate((("effnet_distance", "feature distance"), ("psnr", "PSNR / dB"))):
        for place, task in enumerate(CURVES):
            axes = figure.add_subplot(2, len(CURVES), 1 + place + row * len(CURVES))
            for method, colour in COLOURS.items():
                ran = [n for n in CALLS if f"{method}-{n}" in results.labels("ssd-table1", task)]
                means = [results.values("ssd-table1", task, f"{method}-{n}", column).mean() for n in ran]
                axes.plot(ran, means, "o-", color=colour, label=method, markersize=4)
            axes.set_xscale("log")
            axes.set_xticks(CALLS, [str(n) for n in CALLS], minor=False)
            axes.set_xticks([], minor=True)
            axes.set_title(f"{task}: {name}", fontsize=10)
            axes.set_xlabel("network calls")
            axes.legend(frameon=False, fontsize=8)


def trade(results: Results, figure: Any) -> None:
    """Residual against Fréchet distance, along eta."""
    for place, (tail, name) in enumerate(
        (("", "down with fresh noise (0.8)"), (" down 0", "down without fresh noise"))
    ):
        axes = figure.add_subplot(1, 2, place + 1)
        labels = [f"eta {eta}{tail}" for eta in ETAS]
        x = [results.values("ssd-inversion", "sr4", label, "residual").mean() for label in labels]
        y = [results.frechet("ssd-inversion", "sr4", label)[0] for label in labels]
        axes.plot(x, y, "o-", color=COLOURS["ssd"], markersize=4)
        axes.plot([x[0], x[-1]], [y[0], y[-1]], ":", color="grey")
        for a, b, eta in zip(x, y, ETAS, strict=True):
            axes.annotate(f"{eta:g}", (a, b), textcoords="offset points", xytext=(5, 4), fontsize=8)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("residual")
        axes.set_ylabel("Fréchet distance")


def divergence(results: Results, figure: Any) -> None:
    """KL of the noise over time, by degradation."""
    rows = results.table("inversion")
    for place, (eta, name) in enumerate((("0", "DDIM inversion"), ("0.4", "DA inversion, eta = 0.4"))):
        axes = figure.add_subplot(1, 2, place + 1)
        for factor, colour in zip((1, 2, 4, 8), ("#9bc4bc", "#5b9a8b", "#0b6e4f", "#06392a"), strict=True):
            times: dict[float, list[float]] = {}
            for row in rows:
                if row["factor"] == str(factor) and float(row["eta"]) == float(eta):
                    found = kl(float(row["mixed_mean"]), float(row["mixed_std"]))
                    times.setdefault(float(row["t"]), []).append(found)
            axes.plot(list(times), [np.mean(v) for v in times.values()], color=colour, label=f"x{factor}")
        axes.set_yscale("log")
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("time t")
        axes.set_ylabel("KL to N(0, 1)")
        axes.legend(frameon=False, fontsize=8)


Plots = Mapping[str, tuple[str, Callable[[Results, Any], None], tuple[float, float]]]
"""By claim: a title, what draws it, and its size in inches."""

PLOTS: Plots = {
    "S3": ("Quality against network calls", quality, (8, 6)),
    "S4": ("Faithfulness against realism along eta", trade, (8, 3.6)),
    "S5": ("Divergence of the predicted noise over time", divergence, (8, 3.4)),
}


@dataclass(frozen=True)
class Strip:
    """Pictures of a run beside each other.

    Attributes:
        file: beside the results.
        columns: title by label; "truth" is the true picture, "y" the measurement. A method that did not run is left
            out.
        task: of the run.
        count: pictures.
        title: for the page.
        images: names of the pictures; the first ones if not given.
    """

    file: str
    columns: Mapping[str, str]
    task: str
    count: int
    title: str
    images: tuple[str, ...] = ()


COLUMNS = {
    "truth": "true picture",
    "pinv": "A^+ y",
    "eta 0.0 down 0": "DDIM inversion",
    "eta 0.4 down 0": "DA inversion",
    "eta 1.0 down 0": "DDPM inversion",
    "eta 0.4": "DA, noise down",
    "projected": "SSD",
}


INVERSION = Strip("inversion.jpg", COLUMNS, "sr4", 4, "Inversion without back-projection")


def strip(run: Path, out: Path, what: Strip) -> None:
    """Writes a JPEG of the first few pictures of a run, method by method, from its folder to the folder `out`.

    A run that has no pictures of the task yet leaves `out` as it is.
    """
    figure_type = _matplotlib()
    rows = [row for row in Store(run).read() if row["task"] == what.task]
    if not rows:
        return
    names = [n for n in sorted({row["image"] for row in rows}) if n in what.images or not what.images][: what.count]
    files = {(row["image"], row["label"]): run / "pictures" / f"{row['key']}.png" for row in reversed(rows)}
    files |= {(row["image"], "y"): run / "pictures" / f"y-{row['measurement']}.png" for row in rows}
    files |= {(name, "truth"): run / "pictures" / f"truth-{name}.png" for name in names}
    ran = {label: title for label, title in what.columns.items() if (names[0], label) in files}
    figure = figure_type(figsize=(1.6 * len(ran), 1.6 * len(names) + 0.3), layout="constrained")
    for place, (name, (label, title)) in enumerate(product(names, ran.items())):
        axes = figure.add_subplot(len(names), len(ran), 1 + place)
        pixels = read(files[name, label]).pixels
        axes.imshow(pixels.permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
        if name == names[0]:
            axes.set_title(title, fontsize=9)
    figure.savefig(out / what.file, dpi=90, pil_kwargs={"quality": 85})


def draw(results: Results, folder: Path, plots: Plots = PLOTS) -> None:
    """Writes a PNG for every plot whose experiment was run.

    Args:
        results: of one paper.
        folder: of the pictures.
        plots: of that paper.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    figure_type = _matplotlib()
    for name, (_, plot, size) in plots.items():
        figure = figure_type(figsize=size, layout="constrained")
        with suppress(MissingResults):
            plot(results, figure)
            figure.savefig(folder / f"{name.lower()}.png", dpi=100, metadata={"Software": None})


def _matplotlib() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("plots need matplotlib: pip install 'pellucid[plots]'") from error
    return Figure
