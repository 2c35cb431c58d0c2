"""The claims of Shortcut Sampling (Liu et al., IJCAI 2024), S1 to S7, part by part.

Margins come from the claims: 0.15 dB is the largest loss of PSNR that Table 1 calls as good, and 0.31 the ratio of its
times. Where the paper says "not worse" of a perceptual distance, 2 % more are let pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch

from pellucid.bench.claims.comparing import (
    Pair,
    decibel,
    distance_at_most,
    frechet_at_most,
    percent,
    plain,
    psnr_at_least,
    psnr_within,
)
from pellucid.bench.claims.inversion import POINTS, TOP, mixed_moments
from pellucid.bench.claims.results import Floats, Results, of_replicates
from pellucid.bench.claims.verdict import Part, above, below
from pellucid.grid import Inclusive
from pellucid.metrics.statistics import Summary, paired, summarise
from pellucid.process import DiscreteVP
from pellucid.transition import beta

LOSS, SLACK = 0.15, 2.0  # dB; percent
RATIO, TOLERANCE = 0.31, 1.1
TASKS = {
    **dict.fromkeys(("sr4", "sr8", "colour", "deblur"), "ssd-table1"),
    **dict.fromkeys(("random", "box"), "ssd-inpainting"),
}
FAITHFUL = ("sr4", "sr8", "deblur")  # the tasks whose PSNR the paper reports
CURVES = ("sr4", "deblur")
WORSE = ("sr8 noise", "sr8 jpeg", "colour noise", "colour jpeg", "wrong blur")
FEWEST, MOST = 10, 100
ETAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def s1(results: Results) -> Iterator[Part]:
    """SSD at 30 calls is as good as DDNM at 100, in 0.31 of the time."""
    for task, plan in TASKS.items():
        pair = Pair(results, plan, task, "ssd-30", "ddnm-100")
        if task in FAITHFUL:
            yield psnr_at_least(pair, -LOSS)
        yield distance_at_most(pair, SLACK)
    ratio = time_ratio(results, "ssd-30", "ddnm-100")
    bound = RATIO * TOLERANCE
    yield Part(
        "sr4: seconds of ssd-30 over those of ddnm-100", f"at most {bound:.2f}", plain(ratio), below(ratio, bound)
    )


def time_ratio(results: Results, first: str, second: str) -> Summary:
    """Processor seconds of two methods that took turns, over the pictures."""
    rows = results.table("timing")
    seconds = {
        label: np.array([float(r["processor_seconds"]) for r in rows if r["label"] == label])
        for label in (first, second)
    }
    return summarise(seconds[first] / seconds[second])


def s2(results: Results) -> Iterator[Part]:
    """SSD at 100 calls has the better perceptual distance at equal PSNR."""
    for task, plan in TASKS.items():
        pair = Pair(results, plan, task, "ssd-100", "ddnm-100")
        if task in FAITHFUL:
            yield psnr_within(pair, LOSS)
        yield distance_at_most(pair, 0.0)
        yield frechet_at_most(pair, 0.0)


def s3(results: Results) -> Iterator[Part]:
    """What SSD is ahead of DDNM and DDRM by is more at few calls than at many."""
    for task in CURVES:
        for other in ("ddnm", "ddrm"):
            few, many = (Pair(results, "ssd-table1", task, f"{other}-{n}", f"ssd-{n}") for n in (FEWEST, MOST))
            gains = [np.subtract(*pair.both("effnet_distance")) for pair in (few, many)]
            reference = many.both("effnet_distance")[1].mean()
            grown = summarise(100 * (gains[0] - gains[1]) / reference)
            what = f"{task}: how much nearer ssd is than {other} at {FEWEST} calls, less that at {MOST}"
            yield Part(what, "more than 0, in % of ssd-100's feature distance", percent(grown), above(grown, 0))


def s4(results: Results) -> Iterator[Part]:
    """DDIM inversion is faithful, DDPM inversion realistic, and eta trades one for the other, convexly."""
    for tail, name in (("", "coming down with fresh noise"), (" down 0", "coming down without")):
        yield from _trade(results, tail, name)


def _trade(results: Results, tail: str, name: str) -> Iterator[Part]:
    plan, task, ends = "ssd-inversion", "sr4", (f"eta 0.0{tail}", f"eta 1.0{tail}")
    pair = Pair(results, plan, task, *ends)
    residual = pair.percent("residual")
    yield Part(f"{name}: residual of DDIM inversion against DDPM's", "smaller", percent(residual), below(residual, 0))
    sets = pair.sets()
    yield Part(f"{name}: Fréchet distance of DDIM inversion against DDPM's", "larger", percent(sets), above(sets, 0))
    excess = chord(results, tail)
    yield Part(
        f"{name}: DA inversion (0.4) over the line from DDIM's to DDPM's",
        "below the line, in % of DDPM's Fréchet distance",
        percent(excess),
        below(excess, 0),
    )


def chord(results: Results, tail: str, eta: float = 0.4) -> Summary:
    """How far the Fréchet distance at `eta` lies over the chord of the curve (residual, Fréchet), in percent."""
    return over_line(results, "ssd-inversion", [f"eta {e}{tail}" for e in (0.0, eta, 1.0)])


def over_line(results: Results, plan: str, labels: Sequence[str]) -> Summary:
    """How far the second of three methods lies over the line through the others, in percent of the third's distance."""
    low, mid, high = (results.values(plan, "sr4", label, "residual").mean() for label in labels)
    f0, f, f1 = (results.frechet(plan, "sr4", label) for label in labels)
    share = (mid - low) / (high - low)
    return of_replicates(100 * (f - (1 - share) * f0 - share * f1) / f1[0])


def s5(results: Results) -> Iterator[Part]:
    """The predicted noise departs from N(0, I) as the input is degraded; DA inversion pulls it back."""
    mixed = divergences(results)
    factors = sorted({factor for factor, _ in mixed})
    for less, more in pairwise(factors):
        grown = paired(mixed[more, 0.0], mixed[less, 0.0])
        yield Part(f"KL of DDIM inversion's noise: x{more} less x{less}", "more than 0", plain(grown), above(grown, 0))
    predicted = divergences(results, "")
    for name, found in (("the next state's noise", mixed), ("the prediction itself", predicted)):
        for factor in factors[1:]:
            pulled = paired(found[factor, 0.4], found[factor, 0.0])
            what = f"KL of {name} at x{factor}: DA inversion (0.4) less DDIM inversion"
            yield Part(what, "less than 0", plain(pulled), below(pulled, 0))
    error = theorem(results)
    yield Part(
        "Theorem 1: spread of DA inversion's mixture against eq. (16), root mean square difference",
        "at most 0.01",
        f"{error:.4f}",
        error <= 0.01,
    )


def theorem(results: Results) -> float:
    """How far the measured spread of the mixture is from that of eq. (16), over pictures, degradations and times."""
    process = DiscreteVP.linear()
    top = torch.tensor([round(TOP * process.t_max)], dtype=torch.float64)
    times = Inclusive(POINTS).times(process, top)[:-1].flip(0)
    errors = []
    for row in results.table("inversion"):
        if (eta := float(row["eta"])) > 0:
            t = torch.tensor([float(row["t"])], dtype=torch.float64)
            s = times[int((times <= t).sum())]
            share = float(eta * beta(process, s, t) / process.sigma(s) ** 2)
            _, std = mixed_moments(float(row["mean"]), float(row["std"]), share)
            errors.append(float(row["mixed_std"]) - std)
    return float(np.sqrt(np.mean(np.square(errors))))


def divergences(results: Results, column: str = "mixed_") -> dict[tuple[int, float], Floats]:
    """By (factor, eta): KL of eq. (38) of a picture's mean and std of the noise, mean over the way up, by picture.

    Args:
        results: where the numbers are.
        column: "mixed_" for the noise of the next state, "" for the network's prediction.
    """
    found: dict[tuple[int, float], dict[str, list[float]]] = {}
    for row in results.table("inversion"):
        images = found.setdefault((int(row["factor"]), float(row["eta"])), {})
        images.setdefault(row["image"], []).append(kl(float(row[column + "mean"]), float(row[column + "std"])))
    return {key: np.array([np.mean(images[name]) for name in sorted(images)]) for key, images in found.items()}


def kl(mean: float, std: float) -> float:
    """KL( N(mean, std^2) || N(0, 1) ), eq. (38)."""
    return float((std**2 + mean**2 - 1 - np.log(std**2)) / 2)


def s6(results: Results) -> Iterator[Part]:
    """DDIM inversion < DA inversion < DA inversion with back-projection, in PSNR."""
    names = {"eta 0.0": "DDIM inversion", "eta 0.4": "DA inversion", "projected": "DA inversion with back-projection"}
    for less, more in pairwise(names):
        number = Pair(results, "ssd-inversion", "sr4", more, less).difference("psnr")
        yield Part(
            f"sr4: PSNR of {names[more]} less that of {names[less]}",
            "more than 0 dB",
            decibel(number),
            above(number, 0),
        )


def s7(results: Results) -> Iterator[Part]:
    """SSD+ with the paper's t_stop beats SSD where the measurement is noisy or the operator wrong."""
    for task in WORSE:
        pair = Pair(results, "ssd-plus", task, "ssd+", "ssd")
        if not task.startswith("colour"):
            yield psnr_at_least(pair, 0.0)
        yield distance_at_most(pair, 0.0)


EXPERIMENTS = {
    "S1": "Plans ssd-table1 and ssd-inpainting; the seconds from the study `timing`, where the two methods take turns.",
    "S2": "Plans ssd-table1 and ssd-inpainting.",
    "S3": "Plan ssd-table1.",
    "S4": "Plan ssd-inversion: no back-projection, 30 calls.",
    "S5": "Study `inversion`: the way up of SSD at 100 calls, from A^+ A x of bicubic reduction; the noise that the "
    "next state is made with, in DA inversion the mixture of eq. (12); KL by eq. (38) of its mean and spread, "
    "averaged over all times.",
    "S6": "Plan ssd-inversion, 30 calls.",
    "S7": "Plan ssd-plus, 30 calls, t_stop = 0.2.",
}

TESTS: dict[str, Callable[[Results], Iterator[Part]]] = {
    "S1": s1,
    "S2": s2,
    "S3": s3,
    "S4": s4,
    "S5": s5,
    "S6": s6,
    "S7": s7,
}
