"""What else the experiments on ADIR's claims show: tables, plots and pictures; they count towards no verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from pellucid.bench.claims.adir import (
    COLLECTIONS,
    DOMAIN,
    GUIDANCE,
    NAMES,
    RESOLUTION,
    SETTINGS,
    TABLE,
    TASKS,
)
from pellucid.bench.claims.adir_queries import QUERIES
from pellucid.bench.claims.adir_queries import TASKS as ASKED
from pellucid.bench.claims.comparing import Pair, decibel, percent
from pellucid.bench.claims.plots import Plots, Strip
from pellucid.bench.claims.remark import written
from pellucid.bench.claims.results import MissingResults, Results

ARMS = {
    "near": "nearest by embedding",
    "mse": "nearest by squared error",
    "random": "random of the collection",
    "own": "y itself (eq. 17)",
    "surroundings": "oracle: the same photograph around the crop",
    "photos": "nearest of photographs, by embedding",
}
STEPS = (10, 25, 50, 100, 200)
TASK = "grey"  # of the settings and the collections
GREEN, ORANGE = "#0b6e4f", "#c84c09"


def of(name: str, results: Results) -> str:
    """What is said below a claim's table; a remark whose experiment was not run is left out."""
    return written(REMARKS, name, results)


def arms(results: Results) -> Iterator[str]:
    """A1: everything that a prior was adapted to, against the prior as it is."""
    yield "All that the priors were adapted to, less the same prior as it is, same seeds:"
    yield ""
    yield "| pictures | task | adapted to | PSNR | feature distance |"
    yield "|---|---|---|---|---|"
    for plan in (TABLE, DOMAIN):
        for task, label in _ran(results, plan):
            if label in ARMS:
                yield f"| {NAMES[plan]} | {task} | {ARMS[label]} | {_against(results, plan, task, label, 'base')} |"


def why(results: Results) -> Iterator[str]:
    """A1: how far the neighbours are, and what those that are near do."""
    tasks = [task for task, label in _ran(results, TABLE) if label == "near"]
    cosine = 1 - np.mean([results.values(TABLE, task, "near", "nearest").mean() for task in tasks])
    oracle = [Pair(results, TABLE, task, "surroundings", "base") for task in ("sr4", "sr8")]
    gains = ", ".join(decibel(pair.difference("psnr")) for pair in oracle)
    nearer = ", ".join(percent(pair.percent("effnet_distance")) for pair in oracle)
    yield (
        f"Why the gain on photographs is small: the collection is. The nearest of its 1965 squares has a cosine of "
        f"{cosine:.2f} to the query in the mean, and squares that were taken at random or by squared error do as well. "
        f"Neighbours that are near do change the picture: what the same photograph shows around the crop (the oracle) "
        f"gives weave and grain where the prior as it is gives smooth cloth, as the pictures show. They are not those "
        f"of the true picture, pixel by pixel, so that PSNR falls (SR x4, x8: {gains}) while the feature distance "
        f"falls too ({nearer}). Adapting to y itself does the reverse: it smooths, which PSNR rewards, in the tasks "
        f"whose y is sharp enough to learn from."
    )


def costs(results: Results) -> Iterator[str]:
    """A1, A2: seconds of looking, adapting and reconstructing, on one core of two that were both busy."""
    yield (
        "Seconds for a picture of 128 pixels, means, on one core of two that were both busy: looking for the "
        "neighbours, 50 steps of adaptation, one reconstruction of 20 calls, and, from it, one of 1000 calls, which is "
        "the paper's number:"
    )
    yield ""
    yield "| pictures | neighbours | looking | adapting | 20 calls | 1000 calls |"
    yield "|---|---|---|---|---|---|"
    for plan in (TABLE, DOMAIN):
        for label in ("near", "mse", "random"):
            tasks = [task for task, found in _ran(results, plan) if found == label]
            if tasks and results.has(plan, tasks[0], label, "adapt_seconds"):
                looked, took, made = (
                    float(np.mean([results.values(plan, task, label, column).mean() for task in tasks]))
                    for column in ("search_seconds", "adapt_seconds", "seconds")
                )
                row = f"{looked:.2f} | {took:.1f} | {made:.2f} | {50 * made:.0f}"
                yield f"| {NAMES[plan]} | {ARMS[label]} | {row} |"


def queries(results: Results) -> Iterator[str]:
    """A2: what is best looked for."""
    rows = results.table("adir-queries")
    count = len({row["image"] for row in rows})
    yield (
        "What a collection is best searched by: the share of the 20 nearest that the true picture would have found "
        f"too, and the mean cosine of those found to the true picture ({count} pictures; a first one is DDRM's "
        "in 20 calls):"
    )
    yield ""
    yield "| task | y as a picture | | a first reconstruction | | mean of both embeddings | |"
    yield "|---|---|---|---|---|---|---|"
    for task, (text, std) in ASKED.items():
        cells = []
        for query in QUERIES:
            own = [row for row in rows if (row["task"], row["query"]) == (task, query)]
            if not own:
                raise MissingResults("adir-queries: it was run in part")
            cells += [f"{100 * np.mean([float(row['agree']) for row in own]):.0f} %"]
            cells += [f"{np.mean([float(row['similarity']) for row in own]):.3f}"]
        noise = f", noise {std:.3g}" if std else ""
        yield f"| {task} (`{text}`{noise}) | {' | '.join(cells)} |"


def wrong(results: Results) -> Iterator[str]:
    """A1: an operator that is off by a fifth."""
    task = "deblur 20 off"
    yield (
        "With a blur that is told 20 % too wide (CT, std 1.5 told as 1.8, noise 0.01), less the prior "
        "as it is under the same wrong operator:"
    )
    yield ""
    yield "| adapted to | PSNR | feature distance |"
    yield "|---|---|---|"
    for label in results.labels(DOMAIN, task):
        if label in ARMS:
            yield f"| {ARMS[label]} | {_against(results, DOMAIN, task, label, 'base')} |"


def settings(results: Results) -> Iterator[str]:
    """A1: steps, neighbours, rate, style."""
    yield "How much adaptation it takes (CT, colourised), less the prior as it is:"
    yield ""
    yield "| | PSNR | feature distance | seconds of adaptation |"
    yield "|---|---|---|---|"
    said = {
        **{f"steps {n}": f"{n} steps of 1e-3, 20 neighbours" for n in STEPS},
        "lr 1e-4": "50 steps of 1e-4",
        **{f"K {k}": f"{k} neighbour{'s' * (k > 1)}, 50 steps of 1e-3" for k in (1, 5, 50)},
        "full": "all weights, 50 steps of 3e-4",
    }
    for label, text in said.items():
        if label in results.labels(SETTINGS, TASK):
            took = results.values(SETTINGS, TASK, label, "adapt_seconds").mean()
            yield f"| {text} | {_against(results, SETTINGS, TASK, label, 'base')} | {took:.1f} |"


def large(results: Results) -> Iterator[str]:
    """A3: random neighbours beside the nearest."""
    numbers = _against(results, RESOLUTION, "sr4", "random", "base", between=", ")
    yield f"Random neighbours at 512 pixels, less the prior as it is: {numbers}."


def forms(results: Results) -> Iterator[str]:
    """A4: the means, with the paper's scale."""
    yield "Means of all forms; `paper` is the literal scale s = 1 with y_t as printed:"
    yield ""
    labels = [f"{form} {calls}" for calls in (20, 100) for form in ("surrogate", "naive", "autograd", "paper")]
    yield f"| task | {' | '.join(labels)} |"
    yield "|---" * (1 + len(labels)) + "|"
    for task in TASKS[TABLE]:
        cells = [f"{results.values(GUIDANCE, task, label, 'psnr').mean():.2f} dB" for label in labels]
        yield f"| {task} | {' | '.join(cells)} |"


def holdings(results: Results) -> Iterator[str]:
    """A6: all collections."""
    yield "All collections, less the prior as it is:"
    yield ""
    yield "| collection | PSNR | feature distance |"
    yield "|---|---|---|"
    said = {
        "all": "1100 quarters of the slices of one patient",
        "100": "100 of them",
        "20": "20 of them",
        "narrow": "those of one end of the body",
        "photos": "1965 squares of photographs",
    }
    for label, text in said.items():
        if label in results.labels(COLLECTIONS, TASK):
            yield f"| {text} | {_against(results, COLLECTIONS, TASK, label, 'base')} |"


def _ran(results: Results, plan: str) -> list[tuple[str, str]]:
    return [(task, label) for p, task, label in results.groups if p == plan and task in TASKS[plan]]


def _against(results: Results, plan: str, task: str, first: str, second: str, between: str = " | ") -> str:
    pair = Pair(results, plan, task, first, second)
    return between.join([decibel(pair.difference("psnr")), percent(pair.percent("effnet_distance"))])


REMARKS: dict[str, tuple[Callable[[Results], Iterator[str]], ...]] = {
    "A1": (arms, why, settings, wrong, costs),
    "A2": (queries,),
    "A3": (large,),
    "A4": (forms,),
    "A6": (holdings,),
}


def draw_gains(results: Results, figure: Any) -> None:
    """What every kind of neighbour gains, with its interval, in both plans."""
    for place, plan in enumerate((TABLE, DOMAIN)):
        axes = figure.add_subplot(1, 2, 1 + place)
        ran = [(task, label) for task, label in _ran(results, plan) if label in ARMS]
        for row, (task, label) in enumerate(ran):
            number = Pair(results, plan, task, label, "base").difference("psnr")
            colour = GREEN if label == "near" else ORANGE if label in ("surroundings",) else "#5c4d7d"
            axes.plot([number.low, number.high], [row, row], color=colour)
            axes.plot([number.mean], [row], "o", color=colour, markersize=4)
        axes.set_yticks(range(len(ran)), [f"{task}, {label}" for task, label in ran], fontsize=7)
        axes.invert_yaxis()
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_title(NAMES[plan], fontsize=10)
        axes.set_xlabel("PSNR gained / dB")


def draw_collections(results: Results, figure: Any) -> None:
    """Gain against the size of the collection."""
    axes = figure.add_subplot(1, 1, 1)
    sizes = {"20": 20, "100": 100, "all": 1100}
    numbers = [Pair(results, COLLECTIONS, TASK, label, "base").difference("psnr") for label in sizes]
    _line(axes, list(sizes.values()), numbers, GREEN)
    axes.set_xscale("log")
    axes.set_xlabel("pictures in the collection")
    axes.set_ylabel("PSNR gained / dB")


def _line(axes: Any, x: Sequence[float], numbers: Sequence[Any], colour: str) -> None:
    axes.plot(x, [number.mean for number in numbers], "o-", color=colour, markersize=4)
    axes.fill_between(x, [n.low for n in numbers], [n.high for n in numbers], color=colour, alpha=0.15, linewidth=0)


PLOTS: Plots = {
    "A1": ("What adaptation gains, 95 % intervals", draw_gains, (9, 5)),
    "A6": ("What a larger collection gains", draw_collections, (5, 3.2)),
}
PHOTOS = {
    "truth": "true picture",
    "y": "measurement",
    "base": "not adapted",
    "random": "random",
    "mse": "nearest, MSE",
    "near": "nearest",
    "surroundings": "oracle",
}
SLICES = {
    "truth": "true slice",
    "y": "measurement",
    "base": "not adapted",
    "random": "random",
    "near": "nearest",
    "photos": "photographs",
}
STRIPS = {
    "A1": (
        (TABLE, Strip("photos.jpg", PHOTOS, "sr4", 4, "SR x4 by a prior of photographs, adapted")),
        (
            DOMAIN,
            Strip("ct.jpg", SLICES, "grey", 4, "Colour for CT, which has none, by a prior of photographs"),
        ),
    ),
    "A4": (
        (
            GUIDANCE,
            Strip(
                "guidance.jpg",
                {"truth": "true picture", "y": "measurement"}
                | {f"{f} 100": f for f in ("surrogate", "naive", "autograd")},
                "deblur",
                4,
                "Forms of the guidance, deblurring, 100 calls",
            ),
        ),
    ),
}
