"""Why a claim did not hold: sentences by hand, each only where its figures from the result files bear it out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from pellucid.bench.claims.comparing import Pair, decibel, percent
from pellucid.bench.claims.results import MissingResults, Results
from pellucid.bench.claims.ssd import FAITHFUL, TASKS
from pellucid.process import DiscreteVP

PLAN, TASK = "ssd-causes", "sr4"
TOPS = (0.1, 0.25, 0.55)
COLUMNS = (("psnr", "PSNR / dB", 2), ("residual", "residual", 4), ("detail", "detail", 2))


def of(name: str, results: Results) -> str:
    """What is said below a claim's table; "" where there is nothing to say or its experiment was not run."""
    try:
        return "\n\n".join(CAUSES[name](results)) if name in CAUSES else ""
    except MissingResults:
        return ""


def inversions(results: Results) -> Iterator[str]:
    """S4 and S6: what is left of the picture at the top, and how good the prior's own samples are."""
    own = results.frechet(PLAN, TASK, "unconditional")[0]
    blurred = results.frechet("ssd-inversion", TASK, "pinv")[0]
    if own > blurred:
        yield (
            f"The cause is the prior. What a run forgets of the picture is filled in by the prior alone, and its own "
            f"samples (`unconditional`, 100 calls) have a Fréchet distance of {own:.0f} to the true pictures, where "
            f"the blurred A^+ y has {blurred:.0f}: there is no realism to be won by forgetting. At the top that the "
            f"paper takes, t0 = 0.55, {100 * power(0.55):.0f} % of the power of x_t0 is the picture's. Lower tops "
            f"forget less. Detail is the mean difference of neighbouring pixels, over that of the true picture."
        )
    yield "\n".join(_lower_tops(results))


def _lower_tops(results: Results) -> Iterator[str]:
    yield "| t0, power left | down with | | DDIM inversion | DA inversion, 0.4 | DDPM inversion |"
    yield "|---|---|---|---|---|---|"
    for top in TOPS:
        for tail, down in (("", "fresh noise"), (" down 0", "no noise")):
            labels = [f"eta {eta}{tail}" if top == 0.55 else f"t0 {top} eta {eta}{tail}" for eta in (0.0, 0.4, 1.0)]
            plan = "ssd-inversion" if top == 0.55 else PLAN
            where = f"{top}, {100 * power(top):.0f} % | {down}"
            for column, name, digits in COLUMNS:
                found = [f"{results.values(plan, TASK, label, column).mean():.{digits}f}" for label in labels]
                yield f"| {where} | {name} | {' | '.join(found)} |"
            found = [f"{results.frechet(plan, TASK, label)[0]:.0f}" for label in labels]
            yield f"| {where} | Fréchet distance | {' | '.join(found)} |"


def power(top: float) -> float:
    """alpha_t^2 at the share `top` of all time: how much of the power of x_t is the picture's."""
    return float(DiscreteVP.linear().alpha(torch.tensor([1000 * top], dtype=torch.float64))) ** 2


def fewer_calls(results: Results) -> Iterator[str]:
    """S1: how much of the difference DDNM makes itself when it is given 30 calls, and how much is SSD's."""
    yield "What 30 calls instead of 100 cost DDNM itself, and what SSD adds to that at the same number of calls:"
    lines = ["| task | | ddnm-30 less ddnm-100 | ssd-30 less ddnm-30 |", "|---|---|---|---|"]
    for task in TASKS:
        steps, shortcut = (
            Pair(results, "ssd-table1", task, *labels) for labels in (("ddnm-30", "ddnm-100"), ("ssd-30", "ddnm-30"))
        )
        if task in FAITHFUL:
            psnr = [decibel(pair.difference("psnr")) for pair in (steps, shortcut)]
            lines.append(f"| {task} | PSNR | {' | '.join(psnr)} |")
        distance = [percent(pair.percent("effnet_distance")) for pair in (steps, shortcut)]
        lines.append(f"| {task} | feature distance | {' | '.join(distance)} |")
    yield "\n".join(lines)


CAUSES: dict[str, Callable[[Results], Iterator[str]]] = {"S1": fewer_calls, "S4": inversions}
