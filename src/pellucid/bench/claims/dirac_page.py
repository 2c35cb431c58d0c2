"""What else the experiments on Dirac's claims show: tables and plots; they count towards no verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pellucid.bench.claims.comparing import Pair, decibel, percent, plain
from pellucid.bench.claims.dirac import (
    AHEAD,
    COVERAGE,
    CT,
    ETAS,
    GUIDANCE,
    OTHER,
    PATH,
    SCHEDULE,
    TABLE,
    TASKS,
    frechet,
    path,
    schedules,
)
from pellucid.bench.claims.plots import Plots, Strip
from pellucid.bench.claims.remark import written
from pellucid.bench.claims.results import Floats, Results
from pellucid.metrics.statistics import summarise

NAMES = {"blur": "deblurring", "hole": "inpainting"}
COLOURS = {"dirac": "#0b6e4f", "dps": "#c84c09", "ddrm": "#5c4d7d", "ddnm+": "#2b7cb3", "diffpir": "#8a8a8a"}
CALLS = (1, 2, 5, 10, 20, 100)


def of(name: str, results: Results) -> str:
    """What is said below a claim's table; a remark whose experiment was not run is left out."""
    return written(REMARKS, name, results)


def along(results: Results) -> Iterator[str]:
    """D1: the estimate at a few places of the run."""
    yield "The estimate along one run of 50 calls, means over the pictures:"
    yield ""
    yield "| task | share of the run | PSNR / dB | feature distance | Fréchet distance | residual |"
    yield "|---|---|---|---|---|---|"
    for task in TASKS:
        shares, gain = path(results, task, "dirac", "psnr")
        _, distance = path(results, task, "dirac", "effnet_distance")
        _, residual = path(results, task, "dirac", "residual")
        sets = frechet(results, task)
        for k in range(0, len(shares), 2):
            means = f"{gain[k].mean():.2f} | {distance[k].mean():.4f} | {sets[k, 0]:.0f} | {residual[k].mean():.3f}"
            yield f"| {task} | {shares[k]:.0%} | {means} |"


def coverage(results: Results) -> Iterator[str]:
    """Whether the samples are as far apart as they are wrong."""
    rows = results.table(COVERAGE)
    yield (
        "Sixteen runs of every picture, seeds apart. For samples of the posterior, the error of their mean would be "
        "sqrt(17 / 16) times their spread, and 15 / 17 = 88 % of the true values would lie inside their range:"
    )
    yield ""
    yield (
        "| task | pictures | PSNR of one | of the mean | error of the mean over spread | inside the range "
        "| rank correlation of spread and error |"
    )
    yield "|---|---|---|---|---|---|---|"
    for task in TASKS:
        own = [row for row in rows if row["task"] == task]
        if not own:
            continue
        values = {name: np.array([float(row[name]) for row in own]) for name in own[0] if name not in _WORDS}
        ratio = summarise(values["rmse"] / values["std"])
        inside = summarise(100 * values["inside"])
        yield (
            f"| {task} | {len(own)} | {values['psnr_sample'].mean():.2f} dB | {values['psnr_mean'].mean():.2f} dB "
            f"| {plain(ratio)} | {inside.mean:.1f} % [{inside.low:.1f}, {inside.high:.1f}] "
            f"| {plain(summarise(values['spearman']), 2)} |"
        )
    yield ""
    yield (
        "![Truth, measurement, two samples, their mean, their spread, and the error of the mean on the spread's scale]"
        "(../bench/results/dirac/dirac-coverage.jpg)"
    )


_WORDS = ("task", "image", "ranks")


def against(results: Results) -> Iterator[str]:
    """D2, D4: Dirac against everything of the table."""
    yield "Dirac-DO's PSNR and Dirac-PO's feature distance against all others:"
    yield ""
    yield "| task | against | PSNR of DO | distance of PO | Fréchet distance of PO |"
    yield "|---|---|---|---|---|"
    for task in TASKS:
        for other in results.labels(TABLE, task):
            if other.lower().startswith("dirac"):
                continue
            early, late = (Pair(results, TABLE, task, f"Dirac-{kind}", other) for kind in ("DO", "PO"))
            numbers = decibel(early.difference("psnr")), percent(late.percent("effnet_distance")), percent(late.sets())
            yield f"| {task} | {other} | {' | '.join(numbers)} |"


def elsewhere(results: Results) -> Iterator[str]:
    """Other pictures than those of the training, and CT."""
    titles = {
        CT: ("views", "Sparse-view CT, 16 views' filtered back-projection with noise 0.02, on phantoms"),
        OTHER: ("views", "The same networks, trained on CT slices, on photographs in grey"),
    }
    for plan, (task, title) in titles.items():
        labels = results.labels(plan, task)
        if not labels:
            continue
        yield f"{title}:"
        yield ""
        yield "| method | PSNR / dB | feature distance | Dirac-DO against it, PSNR |"
        yield "|---|---|---|---|"
        for label in labels:
            means = [results.values(plan, task, label, column).mean() for column in ("psnr", "effnet_distance")]
            pair = Pair(results, plan, task, "Dirac-DO", label)
            shown = "" if label == "Dirac-DO" else decibel(pair.difference("psnr"))
            yield f"| {label} | {means[0]:.2f} | {means[1]:.4f} | {shown} |"
        yield ""


def beginnings(results: Results) -> Iterator[str]:
    """What beginning from the shipped prior saves."""
    rows = results.table("beginnings")
    runs = list(dict.fromkeys(row["run"] for row in rows))
    steps = sorted({int(row["step"]) for row in rows})
    found = {(row["run"], int(row["step"])): float(row["psnr"]) for row in rows}
    yield (
        "Training: the validation PSNR of the estimate at t = 1 after so many steps of the same configuration, begun "
        "from `photo` and from nothing (blur):"
    )
    yield ""
    yield "| steps | " + " | ".join(runs) + " |"
    yield "|---" * (1 + len(runs)) + "|"
    for step in steps:
        cells = [f"{found[run, step]:.2f} dB" if (run, step) in found else "" for run in runs]
        if all(cells):
            yield f"| {step} | {' | '.join(cells)} |"


def ahead(results: Results) -> Iterator[str]:
    """D5: all networks."""
    yield "| task | delta_t | 20 calls: PSNR | feature distance | one call: PSNR |"
    yield "|---|---|---|---|---|"
    for task in TASKS:
        for d in ("0", "0.1", "0.5", "1"):
            run, one = f"ahead {d}", f"ahead {d} one-shot"
            gain, distance = (results.values(AHEAD, task, run, c).mean() for c in ("psnr", "effnet_distance"))
            yield (
                f"| {task} | {d} | {gain:.2f} dB | {distance:.4f} "
                f"| {results.values(AHEAD, task, one, 'psnr').mean():.2f} dB |"
            )


def etas(results: Results) -> Iterator[str]:
    """D6: every step size, against none."""
    yield "Guidance less none, at 20 calls; the last row climbs the error as the published code does:"
    yield ""
    yield "| task | scaling and eta | PSNR | feature distance |"
    yield "|---|---|---|---|"
    labels = [f"{scaling} {eta}" for scaling in ("std", "error") for eta in ETAS] + ["std 0.5 released"]
    for task in TASKS:
        for label in labels:
            pair = Pair(results, GUIDANCE, task, label, "none")
            numbers = decibel(pair.difference("psnr")), percent(pair.percent("effnet_distance"))
            yield f"| {task} | {label} | {' | '.join(numbers)} |"


def evenly(results: Results) -> Iterator[str]:
    """D7: what the greedy schedule is worth."""
    yield "Networks trained on each schedule, 2000 steps; greedy less linear:"
    yield ""
    yield "| calls | PSNR | feature distance |"
    yield "|---|---|---|"
    for calls in ("10", "20", "50"):
        pair = Pair(results, SCHEDULE, "blur", f"greedy-{calls}", f"linear-{calls}")
        yield f"| {calls} | {decibel(pair.difference('psnr'))} | {percent(pair.percent('effnet_distance'))} |"


REMARKS: dict[str, tuple[Callable[[Results], Iterator[str]], ...]] = {
    "D1": (along, coverage),
    "D2": (against, elsewhere),
    "D4": (beginnings,),
    "D5": (ahead,),
    "D6": (etas,),
    "D7": (evenly,),
}


def draw_path(results: Results, figure: Any) -> None:
    """PSNR and Fréchet distance along the run."""
    for place, task in enumerate(TASKS):
        axes = figure.add_subplot(1, 2, 1 + place)
        shares, gain = path(results, task, "dirac", "psnr")
        axes.plot(shares, gain.mean(1), "o-", color=COLOURS["dirac"], markersize=4)
        axes.set_ylabel("PSNR / dB", color=COLOURS["dirac"])
        axes.set_xlabel("share of the run")
        axes.set_title(NAMES[task], fontsize=10)
        other = axes.twinx()
        other.plot(shares, frechet(results, task)[:, 0], "s--", color=COLOURS["dps"], markersize=4)
        other.set_ylabel("Fréchet distance", color=COLOURS["dps"])


def draw_residual(results: Results, figure: Any) -> None:
    """The residual of the estimates along the runs of all methods."""
    for place, task in enumerate(TASKS):
        axes = figure.add_subplot(1, 2, 1 + place)
        for label, colour in COLOURS.items():
            shares, residual = path(results, task, label, "residual")
            axes.plot(shares, residual.mean(1), "o-", color=colour, markersize=4, label=label)
        axes.axhline(1, color="black", linewidth=0.8)
        for row in results.table(PATH):
            if row["task"] == task and row["label"] == "floor":
                axes.axhline(float(row["residual"]), color="black", linestyle=":", linewidth=0.8)
        axes.set_yscale("log")
        axes.set_xlabel("share of the run")
        axes.set_title(f"{NAMES[task]}: residual per entry, of the noise", fontsize=10)
        axes.legend(frameon=False, fontsize=8)


def draw_calls(results: Results, figure: Any) -> None:
    """Quality against network calls; methods of 20 and 100 calls beside it."""
    columns = (("psnr", "PSNR / dB"), ("effnet_distance", "feature distance"))
    for row, (column, name) in enumerate(columns):
        for place, task in enumerate(TASKS):
            axes = figure.add_subplot(2, 2, 1 + place + 2 * row)
            means = [results.values(TABLE, task, f"dirac-{n}", column).mean() for n in CALLS]
            axes.plot(CALLS, means, "o-", color=COLOURS["dirac"], markersize=4, label="dirac")
            for label, colour in COLOURS.items():
                ran = [n for n in (20, 100) if f"{label}-{n}" in results.labels(TABLE, task)]
                if label != "dirac" and ran:
                    found = [results.values(TABLE, task, f"{label}-{n}", column).mean() for n in ran]
                    axes.plot(ran, found, "s-", color=colour, markersize=4, label=label)
            axes.set_xscale("log")
            axes.set_xticks(CALLS, [str(n) for n in CALLS], minor=False)
            axes.set_xticks([], minor=True)
            axes.set_title(f"{NAMES[task]}: {name}", fontsize=10)
            axes.set_xlabel("network calls")
            axes.legend(frameon=False, fontsize=8)


def draw_schedules(results: Results, figure: Any) -> None:
    """Severity over t, greedy and even, beside the released schedule of the blur."""
    from pellucid.operators.schedules import DIRAC_BLUR

    axes = figure.add_subplot(1, 1, 1)
    for name, (t, severity) in schedules(results).items():
        axes.plot(t, severity, color=COLOURS["dirac" if name == "blur" else "dps"], label=f"{NAMES[name]}, greedy")
    released: Floats = (np.array(DIRAC_BLUR) - DIRAC_BLUR[0]) / (DIRAC_BLUR[-1] - DIRAC_BLUR[0])
    axes.plot(np.linspace(0, 1, len(released)), released, ":", color="black", label="deblurring, the paper's")
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, label="even")
    axes.set_xlabel("t")
    axes.set_ylabel("severity, share of its range")
    axes.legend(frameon=False, fontsize=8)


PLOTS: Plots = {
    "D1": ("PSNR and Fréchet distance along a run", draw_path, (8, 3.2)),
    "D3": ("Residual along a run", draw_residual, (8, 3.6)),
    "D4": ("Quality against network calls", draw_calls, (8, 6)),
    "D7": ("Degradation schedules", draw_schedules, (5, 3.4)),
}
SHOWN = {
    "truth": "true picture",
    "y": "measurement",
    "Dirac-DO": "Dirac-DO",
    "Dirac-PO": "Dirac-PO",
    "dps-100": "DPS",
    "ddrm-20": "DDRM",
    "ddnm+-100": "DDNM+",
    "pnp-admm": "PnP-ADMM",
    "admm-tv": "ADMM-TV",
}
LOOK = {"truth": "true picture", "y": "measurement"} | {
    f"ahead {d}": f"look-ahead {d}" for d in ("0", "0.1", "0.5", "1")
}
SLICE = {
    "truth": "true picture",
    "y": "measurement",
    "Dirac-DO": "Dirac-DO",
    "Dirac-PO": "Dirac-PO",
    "dps-100": "DPS",
    "admm-tv": "ADMM-TV",
}
STRIPS = {
    "D2": (
        (TABLE, Strip("blur.jpg", SHOWN, "blur", 4, "Deblurring, std 3, noise 0.05")),
        (TABLE, Strip("hole.jpg", SHOWN, "hole", 4, "Inpainting of a soft hole, noise 0.05")),
        (CT, Strip("views.jpg", SLICE, "views", 3, "Sixteen views of phantoms, noise 0.02")),
        (OTHER, Strip("other.jpg", SLICE, "views", 3, "Sixteen views of photographs, by networks for CT")),
    ),
    "D5": ((AHEAD, Strip("lookahead.jpg", LOOK, "hole", 4, "Inpainting by networks of other look-aheads, 20 calls")),),
}
