"""What else the experiments on Flash-Diffusion's claims show: tables and plots; they count towards no verdict."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pellucid.bench.claims.comparing import Pair, decibel, percent
from pellucid.bench.claims.flash import (
    AGAIN,
    ENCODERS,
    FIXED,
    MIXED,
    NEAR,
    OPTIONS,
    OTHERS,
    PIXEL,
    STARTS,
    TABLES,
    cost,
    curves,
    regrets,
)
from pellucid.bench.claims.plots import Plots, Strip
from pellucid.bench.claims.remark import written
from pellucid.bench.claims.results import Floats, MissingResults, Results
from pellucid.metrics.statistics import paired, summarise

FLASH, LINE = "#0b6e4f", "#c84c09"
PIXELS = ("dps", "ddnm+", "ssd+")


def of(name: str, results: Results) -> str:
    """What is said below a claim's table; a remark whose experiment was not run is left out."""
    return written(REMARKS, name, results)


def regret(results: Results) -> Iterator[str]:
    """F2: what a start loses against the picture's own best."""
    runs = [curves(results, plan) for plan in (STARTS, AGAIN)]
    yield (
        "Regret: how much larger the feature distance is than from the fixed start that is best for the picture, which "
        "is chosen with one seed and judged with the other; in percent of the mean there:"
    )
    yield ""
    yield "| start | mean steps | regret |"
    yield "|---|---|---|"
    for label in ("flash", *(f"fixed {n}" for n in FIXED)):
        steps = results.values(STARTS, "blur", label, "nfe").mean()
        found = [results.values(plan, "blur", label, "effnet_distance") for plan in (STARTS, AGAIN)]
        shown = "predicted" if label == "flash" else label
        yield f"| {shown} | {steps:.1f} | {percent(summarise(regrets(runs, found)))} |"


def others(results: Results) -> Iterator[str]:
    """F3: Flash against everything of the table, with the steps of each."""
    if not any(results.labels(plan, task) for task, plan in TABLES.items()):
        raise MissingResults("no table was run")
    yield "Flash less the others, and what each takes for a picture on average:"
    yield ""
    yield "| task | flash against | PSNR | feature distance | Fréchet distance | calls of flash | of the other |"
    yield "|---|---|---|---|---|---|---|"
    for task, plan in TABLES.items():
        for other in ("ae", "swinir", *OTHERS, "flash resample"):
            if other not in results.labels(plan, task):
                continue
            pair = Pair(results, plan, task, "flash", other)
            numbers = decibel(pair.difference("psnr")), percent(pair.percent("effnet_distance")), percent(pair.sets())
            calls = [f"{value.mean():.0f}" for value in pair.both("nfe")]
            yield f"| {task} | {other} | {' | '.join(numbers)} | {' | '.join(calls)} |"


def tuning(results: Results) -> Iterator[str]:
    """F3: the grids that the baselines' settings were chosen on."""
    rows = results.table("tuning")
    yield (
        f"The grids of the baselines, feature distance on {rows[0]['pictures']} training pictures, the chosen in "
        f"**bold**:"
    )
    yield ""
    yield "| task | method | settings: feature distance |"
    yield "|---|---|---|"
    for task, method in dict.fromkeys((row["task"], row["method"]) for row in rows):
        mine = [row for row in rows if (row["task"], row["method"]) == (task, method)]
        least = min(float(row["effnet_distance"]) for row in mine)
        cells = []
        for row in mine:
            cell = f"{row['settings']}: {float(row['effnet_distance']):.3f}"
            cells.append(f"**{cell}**" if float(row["effnet_distance"]) == least else cell)
        yield f"| {task} | {method} | {'; '.join(cells)} |"


def steps(results: Results) -> Iterator[str]:
    """F4: steps and seconds of the starts, and how they trade."""
    means = curves(results, STARTS).mean(1)
    near = [n for n, mean in zip(FIXED, means, strict=True) if mean <= (1 + NEAR / 100) * means.min()]
    off = 100 * (ae(results) / means.min() - 1)
    least = min(FIXED, key=lambda n: results.frechet(STARTS, "blur", f"fixed {n}")[0])
    yield (
        f"In feature distance a start's choice is worth little here: fixed starts from {near[0]} to {near[-1]} steps "
        f"are all within {NEAR:g} % of the nearest, and z_hat decoded, without a step, is {off:.0f} % off. Fréchet "
        f"distance is smallest from {least} steps."
    )
    yield ""
    yield "| start | mean steps | least, most | seconds a picture | PSNR / dB | feature distance | Fréchet |"
    yield "|---|---|---|---|---|---|---|"
    for label in ("flash", *shares(results), "ae", *(f"fixed {n}" for n in FIXED)):
        nfe, seconds, psnr, distance = (
            results.values(STARTS, "blur", label, column) for column in ("nfe", "seconds", "psnr", "effnet_distance")
        )
        cells = [f"{nfe.mean():.1f}", f"{nfe.min():.0f}, {nfe.max():.0f}", f"{seconds.mean():.1f}"]
        cells += [f"{psnr.mean():.2f}", f"{distance.mean():.4f}", f"{results.frechet(STARTS, 'blur', label)[0]:.0f}"]
        shown = label.replace("share", "predicted, times") if label != "flash" else "predicted"
        yield f"| {shown} | {' | '.join(cells)} |"


def ae(results: Results) -> float:
    """The mean feature distance of z_hat, decoded."""
    return float(results.values(STARTS, "blur", "ae", "effnet_distance").mean())


def shares(results: Results) -> list[str]:
    """Labels of the runs that took a share of the predicted steps, rising."""
    return sorted(label for label in results.labels(STARTS, "blur") if label.startswith("share"))


def throughput(results: Results) -> Iterator[str]:
    """F4: what slots make of different numbers of steps, where that study was run."""
    path = results.folder.parent / "throughput.json"
    if not path.is_file():
        raise MissingResults(f"{path} is not there")
    json.loads(path.read_text(encoding="utf-8"))
    yield (
        "The seconds are those of a core that others used too, and follow the steps. How a batch of pictures with "
        "different numbers of steps keeps its slots full is measured in [Many pictures](throughput.md)."
    )


def mixed(results: Results) -> Iterator[str]:
    """F4: pictures of both blurs together, of which one start suits only some."""
    count = len(results.images(MIXED, "blur", "flash"))
    yield (
        f"A mixed batch, {count} pictures with Gaussian blur and the same with nonlinear blur (plan flash-mixed), the "
        f"predicted start against fixed ones:"
    )
    yield ""
    yield "| start | mean steps | PSNR / dB | feature distance | predicted less it: PSNR | feature distance |"
    yield "|---|---|---|---|---|---|"

    def both(label: str, column: str) -> Floats:
        return np.concatenate([results.values(MIXED, task, label, column) for task in ("blur", "nonlinear")])

    for label in sorted(results.labels(MIXED, "blur"), key=_natural, reverse=True):
        columns = {column: both(label, column) for column in ("nfe", "psnr", "effnet_distance")}
        less = both("flash", "effnet_distance") - columns["effnet_distance"]
        than = [
            decibel(paired(both("flash", "psnr"), columns["psnr"])),
            percent(summarise(100 * less / columns["effnet_distance"].mean())),
        ]
        cells = [f"{columns['nfe'].mean():.1f}", f"{columns['psnr'].mean():.2f}"]
        cells += [f"{columns['effnet_distance'].mean():.4f}", *(["", ""] if label == "flash" else than)]
        yield f"| {'predicted' if label == 'flash' else label} | {' | '.join(cells)} |"


def pixels(results: Results) -> Iterator[str]:
    """F4: the start in front of methods in pixels."""
    yield (
        "In pixels (plan flash-pixel), the predicted start in front of a method, against the same method from its own "
        "start at 100 calls:"
    )
    yield ""
    yield "| task | method | calls with flash | PSNR | feature distance |"
    yield "|---|---|---|---|---|"
    tasks = dict.fromkeys(task for plan, task, _ in results.groups if plan == PIXEL)
    if not tasks:
        raise MissingResults(f"{PIXEL} was not run")
    for task in tasks:
        for method in PIXELS:
            pair = Pair(results, PIXEL, task, f"flash {method}", method)
            numbers = decibel(pair.difference("psnr")), percent(pair.percent("effnet_distance"))
            yield f"| {task} | {method} | {pair.both('nfe')[0].mean():.0f} | {' | '.join(numbers)} |"


def mismatch(results: Results) -> Iterator[str]:
    """F5: what each encoder costs on each task."""
    yield "| task | encoder | mean steps | PSNR less the right encoder's | feature distance |"
    yield "|---|---|---|---|---|"
    for task, plan in ENCODERS.items():
        right = results.values(plan, task, "flash", "nfe").mean()
        yield f"| {task} | the task's own | {right:.0f} | | |"
        for label in ("other family", "several families"):
            pair = Pair(results, plan, task, label, "flash")
            numbers = decibel(pair.difference("psnr")), percent(summarise(cost(pair)))
            yield f"| {task} | {label} | {pair.both('nfe')[0].mean():.0f} | {' | '.join(numbers)} |"


def options(results: Results) -> Iterator[str]:
    """F6: correction noise, inversion and guidance, each against the default."""
    labels = [label for label in results.labels(OPTIONS, "blur") if label != "flash"]
    if not labels:
        raise MissingResults(f"{OPTIONS} was not run")
    yield (
        "Against the default (exact start, the likelihood's own step): the paper's start with noise correction c, DDIM "
        "inversion of z_hat, and the guidance times eta:"
    )
    yield ""
    yield "| | PSNR | feature distance | residual |"
    yield "|---|---|---|---|"
    for label in sorted(labels, key=_natural):
        pair = Pair(results, OPTIONS, "blur", label, "flash")
        numbers = decibel(pair.difference("psnr")), percent(pair.percent("effnet_distance"))
        yield f"| {label} | {' | '.join(numbers)} | {percent(pair.percent('residual'))} |"
    yield ""
    yield "The weight of the variance's loss, lambda_sigma, was not varied: it takes a training for every value."


def _natural(label: str) -> tuple[str, float]:
    word, _, number = label.partition(" ")
    return word, float(number or 0)


REMARKS: dict[str, tuple[Callable[[Results], Iterator[str]], ...]] = {
    "F2": (regret,),
    "F3": (others, tuning),
    "F4": (steps, mixed, throughput, pixels),
    "F5": (mismatch,),
    "F6": (options,),
}


def by_picture(results: Results, figure: Any) -> None:
    """Feature distance of every picture against the fixed start, the predicted start marked."""
    names = results.images(STARTS, "blur", "flash")
    fixed: Floats = np.mean([curves(results, plan) for plan in (STARTS, AGAIN)], axis=0)
    predicted = results.values(STARTS, "blur", "flash", "nfe")
    flash = np.mean([results.values(plan, "blur", "flash", "effnet_distance") for plan in (STARTS, AGAIN)], axis=0)
    for place, name in enumerate(names):
        axes = figure.add_subplot(-(-len(names) // 4), 4, 1 + place)
        axes.plot(FIXED, fixed[:, place], "o-", color=LINE, markersize=3, label="fixed start")
        axes.plot(predicted[place], flash[place], "D", color=FLASH, markersize=5, label="predicted start")
        axes.axvline(predicted[place], color=FLASH, linewidth=0.8, linestyle=":")
        _steps_below(axes)
        axes.set_title(name.removesuffix(".png"), fontsize=8)
        axes.tick_params(labelsize=7)
        if place == 0:
            axes.legend(frameon=False, fontsize=7)
    figure.supxlabel("steps from the start", fontsize=9)
    figure.supylabel("feature distance", fontsize=9)


def trade(results: Results, figure: Any) -> None:
    """Distances against mean steps, and how many steps were predicted."""
    fixed, adaptive = [f"fixed {n}" for n in FIXED], [*shares(results), "flash"]
    steps = [results.values(STARTS, "blur", label, "nfe").mean() for label in adaptive]

    def distance(label: str) -> float:
        return float(results.values(STARTS, "blur", label, "effnet_distance").mean())

    def frechet(label: str) -> float:
        return float(results.frechet(STARTS, "blur", label)[0])

    for place, (name, value) in enumerate((("feature distance", distance), ("Fréchet distance", frechet))):
        axes = figure.add_subplot(1, 3, 1 + place)
        axes.plot(FIXED, [value(label) for label in fixed], "o-", color=LINE, markersize=4, label="fixed start")
        axes.plot(steps, [value(label) for label in adaptive], "-", color=FLASH, linewidth=1)
        axes.plot(steps[:-1], [value(label) for label in adaptive[:-1]], "D", color=FLASH, markersize=4, label="shares")
        axes.plot(steps[-1], value("flash"), "D", color=FLASH, markersize=8, label="predicted start")
        axes.axhline(value("ae"), color="grey", linewidth=0.8, linestyle=":", label="z_hat decoded")
        _steps_below(axes)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("mean steps")
        axes.legend(frameon=False, fontsize=8)
    axes = figure.add_subplot(1, 3, 3)
    predicted = results.values(STARTS, "blur", "flash", "nfe")
    edges = np.geomspace(max(1, predicted.min()), predicted.max() * 1.001, 9)
    axes.hist(predicted, bins=edges.tolist(), color=FLASH)
    _steps_below(axes)
    axes.set_title("predicted steps", fontsize=10)
    axes.set_xlabel("steps")
    axes.set_ylabel("pictures")


def _steps_below(axes: Any) -> None:
    axes.set_xscale("log")
    axes.set_xticks(FIXED, [str(n) for n in FIXED], minor=False)
    axes.set_xticks([], minor=True)


PLOTS: Plots = {
    "F2": ("Quality against the fixed start, picture by picture", by_picture, (9, 6)),
    "F4": ("Quality against mean steps, and the steps predicted", trade, (10, 3.2)),
}

COLUMNS = {
    "truth": "true picture",
    "flash": "Flash",
    "ae": "AE",
    "swinir": "SwinIR",
    "dps": "DPS",
    "ccdf-dps": "CCDF-DPS",
    "ccdf-l": "CCDF-L",
}
DIFFUSED = {
    "truth": "true picture",
    "y": "measurement",
    **{f"fixed {n}": f"{n} steps" for n in FIXED},
    "flash": "predicted",
}
FAMILIES = {"truth": "true picture", "flash": "its own encoder", "other family": "other", "several families": "several"}

STRIPS: dict[str, tuple[tuple[str, Strip], ...]] = {
    "F2": (
        (
            STARTS,
            Strip(
                "diffused.jpg",
                DIFFUSED,
                "blur",
                2,
                "A picture that ten steps under-diffuse, and below it one that they over-diffuse",
                ("cid22_037", "gcompris_008"),
            ),
        ),
    ),
    "F3": (
        (TABLES["blur"], Strip("blur.jpg", COLUMNS, "blur", 4, "Gaussian blur of 0.3 to 3 pixels, noise 0.05")),
        (TABLES["nonlinear"], Strip("nonlinear.jpg", COLUMNS, "nonlinear", 4, "Nonlinear blur, noise 0.05")),
    ),
    "F5": (
        (TABLES["nonlinear"], Strip("encoders.jpg", FAMILIES, "nonlinear", 3, "Nonlinear blur with three encoders")),
    ),
}
