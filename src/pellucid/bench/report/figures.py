"""Curves and bars: readable in grey and for the colour-blind, every axis with its unit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pellucid.bench.report.results import Group, Results, Row
from pellucid.bench.report.tables import Table
from pellucid.errors import ConfigError
from pellucid.images.atomic import replacing

# Okabe and Ito's colours, which people with any colour vision tell apart; markers and dashes say it once more.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C8C")
MARKERS, DASHES = "osD^vPX*", ("-", "--", "-.", ":")
ARROW = {"higher": "higher is better", "lower": "lower is better"}
LEAST = 1e-6  # a smaller residual is rounding
PERCEPTUAL = ("lpips", "effnet", "fid", "kid", "dists")


@dataclass(frozen=True)
class Drawn:
    """A picture of the report.

    Attributes:
        name: of the file.
        caption: what it shows.
        group: the task that it belongs to; None for all of them.
    """

    name: str
    caption: str
    group: Group | None = None


def require_matplotlib() -> None:
    """Raises `ConfigError` where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ConfigError("reports need matplotlib: pip install 'pellucid[bench]'") from error


def canvas(width: float, height: float) -> Any:
    """An empty figure, in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Any, path: Path, dpi: int = 120) -> None:
    """Writes a PNG, whole or not at all."""
    with replacing(path) as partial:
        figure.savefig(partial, dpi=dpi, metadata={"Software": None})


def draw(results: Results, found: list[Table], out: Path) -> Iterator[Drawn]:
    """All curves and bars that the results are enough for."""
    for table in found:
        for make in (_against_calls, _perception, _trajectories, _costs):
            drawn = make(results, table, out)
            if drawn is not None:
                yield drawn


def _families(table: Table) -> dict[str, list[str]]:
    """Labels by what they share but for the number of calls, fewest calls first."""
    found: dict[str, list[Row]] = {}
    for row in table.group.rows:
        found.setdefault(row["family"], []).append(row)
    return {
        family: [label for label, _ in sorted({(r["label"], r["nfe_asked"] or 0) for r in rows}, key=lambda p: p[1])]
        for family, rows in found.items()
    }


def _line_of(table: Table) -> dict[str, Any]:
    return {line.label: line for line in table.lines}


def _style(index: int) -> dict[str, Any]:
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": DASHES[index // 2 % len(DASHES)],
        "markersize": 5,
        "linewidth": 1.4,
    }


def _against_calls(results: Results, table: Table, out: Path) -> Drawn | None:
    """Quality against network calls, with paired intervals: pictures differ far more than methods."""
    families, lines = _families(table), _line_of(table)
    if not any(len(labels) > 2 for labels in families.values()):
        return None
    columns = [c for c in table.columns if c[0] != "residual"]
    figure = canvas(4.2 * len(columns), 3.6)
    for place, (name, unit, better, _) in enumerate(columns):
        axes = figure.add_subplot(1, len(columns), place + 1)
        for index, (family, labels) in enumerate(families.items()):
            points = [(lines[label].costs["nfe"], lines[label].cells[name]) for label in labels]
            points = [(x, cell) for x, cell in points if x and cell.mean is not None]
            if not points:
                continue
            x, y = [x for x, _ in points], [cell.mean for _, cell in points]
            bars = None
            differences = [cell.difference for _, cell in points]
            if any(d is not None and d.n > 1 for d in differences):
                low = [0.0 if d is None else d.mean - d.low for d in differences]
                bars = [low, [0.0 if d is None else d.high - d.mean for d in differences]]
            axes.errorbar(x, y, bars, capsize=2, elinewidth=0.8, label=family, **_style(index))
        axes.set_xscale("log")
        axes.set_xlabel("network calls a picture (NFE)")
        axes.set_ylabel(f"{name}{f' [{unit}]' if unit else ''}, {ARROW[better]}")
        axes.grid(alpha=0.3)
        _plain_ticks(axes, sorted({row["nfe_asked"] for row in table.group.rows} - {None}))
    figure.axes[0].legend(frameon=False, fontsize=8)
    path = f"calls-{table.group.name}.png"
    save(figure, out / path)
    caption = (
        f"Quality against network calls, as counted. Bars: the 95 % bootstrap interval of the paired difference to "
        f"{table.reference}, which has none."
    )
    return Drawn(path, caption, table.group)


def _plain_ticks(axes: Any, calls: list[float]) -> None:
    axes.set_xticks(calls, [f"{c:g}" for c in calls], fontsize=7)
    axes.minorticks_off()


def _perception(results: Results, table: Table, out: Path) -> Drawn | None:
    """A perceptual distance against PSNR: the lower right is best."""
    name = next((c[0] for c in table.columns if c[0].startswith(PERCEPTUAL)), None)
    lines = _line_of(table)
    if name is None or not any(c[0] == "psnr" for c in table.columns):
        return None
    figure = canvas(5.6, 4.4)
    axes = figure.add_subplot()
    for index, (family, labels) in enumerate(_families(table).items()):
        points = [(lines[label].cells["psnr"].mean, lines[label].cells[name].mean, label) for label in labels]
        points = [p for p in points if None not in p]
        axes.plot([p[0] for p in points], [p[1] for p in points], label=family, **_style(index))
        for x, y, label in points:
            axes.annotate(label, (x, y), textcoords="offset points", xytext=(5, 4), fontsize=7)
    if not axes.lines:
        return None
    axes.margins(0.15)
    axes.set_xlabel("PSNR [dB], higher is better (less distortion)")
    axes.set_ylabel(f"{name}, lower is better (better perception)")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    path = f"perception-{table.group.name}.png"
    save(figure, out / path)
    return Drawn(
        path, "Perception against distortion; lines join the same method at other numbers of calls.", table.group
    )


def _trajectories(results: Results, table: Table, out: Path) -> Drawn | None:
    """What the estimate is worth after each step."""
    curves = {label: _mean_steps(results, table.group, label) for label in table.group.labels}
    curves = {label: steps for label, steps in curves.items() if steps}
    if not curves:
        return None
    names = [n for n in ("residual", "psnr", "effnet_distance") if any(n in s for c in curves.values() for s in c)]
    figure = canvas(4.8 * len(names), 3.8)
    for place, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), place + 1)
        for index, (label, steps) in enumerate(curves.items()):
            style = {**_style(index), "markersize": 0, "linestyle": "-"}
            t = [step["s"] for step in steps]
            least = LEAST if name == "residual" else float("-inf")
            own, raw = ([max(least, step[which]) for step in steps] for which in (name, f"raw_{name}"))
            axes.plot(t, own, label=label, **style)
            axes.plot(t, raw, alpha=0.5, **{**style, "linestyle": ":"})
        if name == "residual":
            axes.set_yscale("log")
            noise = [row["noise_std"] for row in table.group.rows]
            if (floor := sum(noise) / len(noise)) > 0:
                axes.axhline(floor, color="grey", linewidth=0.8)
                axes.annotate("noise", (0.02, floor), xycoords=("axes fraction", "data"), fontsize=7, va="bottom")
        axes.invert_xaxis()
        axes.set_xlabel("time t of the process (runs to 0)")
        axis = {"residual": "||y - A(x0)|| / sqrt(n), in units of [0, 1]", "psnr": "PSNR of the estimate [dB]"}
        axes.set_ylabel(axis.get(name, f"{name} of the estimate"))
        axes.grid(alpha=0.3)
    figure.axes[0].legend(frameon=False, fontsize=7)
    path = f"trajectory-{table.group.name}.png"
    save(figure, out / path)
    caption = (
        "The estimate of the picture after every step, mean over the pictures: solid after it was made to agree with "
        "the measurement, dotted as the network gave it. Residuals below 1e-6 are rounding and drawn there."
    )
    return Drawn(path, caption, table.group)


def _mean_steps(results: Results, group: Group, label: str) -> list[dict[str, float]]:
    """Over the pictures and seeds, by step."""
    by_step: dict[int, list[Row]] = {}
    for row in group.of(label):
        for step in results.steps.get(row["key"], []):
            by_step.setdefault(step["step"], []).append(step)
    means = []
    for _, rows in sorted(by_step.items()):
        names = [n for n in rows[0] if n not in ("key", "step") and all(r.get(n) is not None for r in rows)]
        means.append({n: sum(float(r[n]) for r in rows) / len(rows) for n in names})
    return means


def _costs(results: Results, table: Table, out: Path) -> Drawn | None:
    """Seconds and memory of every method."""
    lines = [line for line in table.lines if line.costs["seconds"] is not None]
    if not lines:
        return None
    known = [c for c in ("seconds", "memory_mib") if all(line.costs[c] is not None for line in lines)]
    figure = canvas(4.6 * len(known), 0.9 + 0.3 * len(lines))
    for place, cost in enumerate(known):
        axes = figure.add_subplot(1, len(known), place + 1)
        values = [line.costs[cost] or 0.0 for line in lines]
        bars = axes.barh([line.label for line in lines], values, color=COLOURS[place])
        calls = [f"{v:.3g}  ({line.costs['nfe']:.0f} calls)" for v, line in zip(values, lines, strict=True)]
        axes.bar_label(bars, calls if cost == "seconds" else [f"{v:.3g}" for v in values], padding=3, fontsize=7)
        axes.margins(x=0.35)
        axes.invert_yaxis()
        axes.set_xlabel({"seconds": "seconds a picture", "memory_mib": "memory of a batch above the rest [MiB]"}[cost])
        axes.spines[["top", "right"]].set_visible(False)
    path = f"cost-{table.group.name}.png"
    save(figure, out / path)
    return Drawn(path, "Time and memory, the mean over the pictures.", table.group)
