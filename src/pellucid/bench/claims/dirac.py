"""The claims of Dirac (Fabian et al., ICML 2024), part by part.

Margins come from the claims. "Near the noise floor" is a residual within 10 % of one per entry. "Fails" is 2 dB and
more. "Indifferent" is 0.3 dB, the most that the paper's Fig. 9 shows for deblurring; "a little" and "not crucial" are
within 0.5 dB. "Acceptable" in one call is the PSNR of the best of the others at up to 20 calls, less 0.5 dB; "suffice"
is 5 % of feature distance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

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
from pellucid.bench.claims.results import Floats, MissingResults, Results, of_replicates
from pellucid.bench.claims.verdict import Part, above, below
from pellucid.metrics.statistics import paired, summarise

TABLE, AHEAD, GUIDANCE, SCHEDULE = "dirac-table1", "dirac-lookahead", "dirac-guidance", "dirac-schedule"
CT, OTHER = "dirac-ct", "dirac-other"
PLANS = (TABLE, AHEAD, GUIDANCE, SCHEDULE, CT, OTHER)
TASKS = ("blur", "hole")
PATH, COVERAGE = "dirac-path", "dirac-coverage"
COMPARED = ("dps-100", "ddrm-20", "pnp-admm", "admm-tv")
FEW = ("dps-20", "ddrm-20", "ddnm+-20", "diffpir-20", "pigdm-20", "dmps-20")
ETAS = ("0.2", "0.5", "1.0", "2.0")
FLOOR, FAILS, SAME, LITTLE, ONE, ENOUGH = 0.1, 2.0, 0.3, 0.5, 0.5, 5.0
EARLY = 0.5  # the first half of the run


def path(results: Results, task: str, label: str, column: str) -> tuple[list[float], Floats]:
    """(shares of the run, the column there (shares, pictures)). Raises `MissingResults`."""
    rows = [row for row in results.table(PATH) if row["task"] == task and row["label"] == label]
    shares, images = sorted({float(row["share"]) for row in rows}), sorted({row["image"] for row in rows})
    found = {(float(row["share"]), row["image"]): float(row[column]) for row in rows}
    if not rows or len(found) < len(shares) * len(images):
        raise MissingResults(f"{PATH}: {label} on {task} was not run, or in part")
    return shares, np.array([[found[share, image] for image in images] for share in shares])


def frechet(results: Results, task: str) -> Floats:
    """Fréchet distance along the run, (shares, 1 + replicates). Raises `MissingResults`."""
    rows = [row for row in results.table(f"{PATH}-sets") if row["task"] == task]
    if not rows:
        raise MissingResults(f"{PATH}-sets: nothing of {task}")
    rows.sort(key=lambda row: float(row["share"]))
    return np.array([[float(v) for v in row["frechet"].split()] for row in rows])


def d1(results: Results) -> Iterator[Part]:
    """PSNR peaks in the first half and then falls; the distances fall from start to end."""
    for task in TASKS:
        shares, gain = path(results, task, "dirac", "psnr")
        peak = int(gain.mean(1).argmax())
        yield Part(
            f"{task}: where the mean PSNR is highest",
            f"in the first {EARLY:.0%} of the run",
            f"at {shares[peak]:.0%}",
            shares[peak] <= EARLY,
        )
        number = paired(gain[peak], gain[-1])
        yield Part(f"{task}: PSNR there over that at the end", "more than 0 dB", decibel(number), above(number, 1e-9))
        _, distance = path(results, task, "dirac", "effnet_distance")
        number = summarise(100 * (distance[-1] - distance[0]) / distance[0].mean())
        yield Part(f"{task}: feature distance, end against start", "smaller", percent(number), below(number, 0))
        sets = frechet(results, task)
        number = of_replicates(100 * (sets[-1] - sets[0]) / sets[0])
        yield Part(f"{task}: Fréchet distance, end against start", "smaller", percent(number), below(number, 0))
        rises = [k for k in range(1, len(shares)) if distance[k].mean() > 1.02 * distance[:k].mean(1).min()]
        yield Part(
            f"{task}: tenths of the run after which the mean distance stands over 2 % above an earlier one",
            "none",
            str(len(rises)),
            not rises,
        )


def d2(results: Results) -> Iterator[Part]:
    """The early stop has the better PSNR, the full run the smaller distance."""
    for task in TASKS:
        for other in COMPARED:
            yield psnr_at_least(Pair(results, TABLE, task, "Dirac-DO", other), 0.0)
            yield distance_at_most(Pair(results, TABLE, task, "Dirac-PO", other), 0.0)
            yield frechet_at_most(Pair(results, TABLE, task, "Dirac-PO", other), 0.0)


def d3(results: Results) -> Iterator[Part]:
    """Dirac's residual is near one all along; the others' is not at first, and some of them come there at the end."""
    for task in TASKS:
        _, own = path(results, task, "dirac", "residual")
        worst = summarise(np.abs(own - 1).max(0))
        what = f"{task}: dirac's residual, its largest distance from 1 along the run"
        yield Part(what, f"at most {FLOOR:g}", plain(worst), below(worst, FLOOR))
        for label in ("dps", "ddrm", "ddnm+"):
            _, other = path(results, task, label, "residual")
            start, end = summarise(other[0]), summarise(other[-1])
            yield Part(f"{task}: {label}'s residual at its start", "above 1.1", plain(start), above(start, 1 + FLOOR))
            if label != "dps":  # "not always", says the claim
                off = summarise(np.abs(other[-1] - 1))
                yield Part(f"{task}: {label}'s residual at its end", "within 0.1 of 1", plain(end), below(off, FLOOR))


def d4(results: Results) -> Iterator[Part]:
    """At up to 20 calls Dirac has the highest PSNR and the smallest distance; one call is acceptable; 20 suffice."""
    for task in TASKS:
        best = max(FEW, key=lambda label: results.values(TABLE, task, label, "psnr").mean())
        near = min(FEW, key=lambda label: results.values(TABLE, task, label, "effnet_distance").mean())
        yield psnr_at_least(Pair(results, TABLE, task, "Dirac-DO", best), 0.0)
        yield distance_at_most(Pair(results, TABLE, task, "dirac-20", near), 0.0)
        yield psnr_at_least(Pair(results, TABLE, task, "dirac-1", best), -ONE)
        yield distance_at_most(Pair(results, TABLE, task, "dirac-20", "dirac-100"), ENOUGH)


def d5(results: Results) -> Iterator[Part]:
    """Without look-ahead inpainting fails; deblurring does not care."""
    for kind in ("", " one-shot"):
        yield psnr_at_least(Pair(results, AHEAD, "hole", f"ahead 1{kind}", f"ahead 0{kind}"), FAILS)
        yield psnr_within(Pair(results, AHEAD, "blur", f"ahead 1{kind}", f"ahead 0{kind}"), SAME)
    means = [results.values(AHEAD, "hole", f"ahead {d}", "psnr").mean() for d in ("0", "0.1", "0.5", "1")]
    figure = ", ".join(f"{mean:.2f}" for mean in means)
    rising = bool(np.all(np.diff(means) > -0.05))
    yield Part("hole: mean PSNR at look-ahead 0, 0.1, 0.5, 1", "never falls by 0.05 dB", f"{figure} dB", rising)


def d6(results: Results) -> Iterator[Part]:
    """Guidance improves a little; std scaling for deblurring, error scaling for inpainting."""
    for task in TASKS:
        tops = {scaling: _best(results, task, [f"{scaling} {eta}" for eta in ETAS]) for scaling in ("std", "error")}
        better = max(tops.values(), key=lambda label: results.values(GUIDANCE, task, label, "psnr").mean())
        yield psnr_at_least(Pair(results, GUIDANCE, task, better, "none"), 0.0)
        yield psnr_within(Pair(results, GUIDANCE, task, better, "none"), LITTLE)
        first, second = ("std", "error") if task == "blur" else ("error", "std")
        yield psnr_at_least(Pair(results, GUIDANCE, task, tops[first], tops[second]), 0.0)


def _best(results: Results, task: str, labels: Sequence[str]) -> str:
    return max(labels, key=lambda label: results.values(GUIDANCE, task, label, "psnr").mean())


def d7(results: Results) -> Iterator[Part]:
    """The greedy blur schedule is far below the even one; that of masks is near it."""
    curves = schedules(results)
    for name, criterion in (("blur", "below 0.8"), ("hole", "within 0.1 of 1")):
        t, severity = curves[name]
        middle = float(np.interp(0.5, t, severity)) / 0.5
        holds = middle < 0.8 if name == "blur" else abs(middle - 1) <= 0.1
        yield Part(f"{name}: severity at t = 0.5, over that of an even schedule", criterion, f"{middle:.2f}", holds)
    t, severity = curves["blur"]
    last = float((severity[-1] - np.interp(0.9, t, severity)) / 0.1)
    what = "blur: slope of severity over the last tenth, over the mean slope"
    yield Part(what, "above 1.25", f"{last:.2f}", last > 1.25)


def schedules(results: Results) -> dict[str, tuple[Floats, Floats]]:
    """{family: (t, severity in [0, 1] as a share of the range)} of the greedy runs."""
    found: dict[str, tuple[Floats, Floats]] = {}
    for name in TASKS:
        rows = [row for row in results.table("dirac-schedules") if row["family"] == name]
        values = np.array([float(row["parameter"]) for row in rows])
        if len(values) < 3:
            raise MissingResults(f"no greedy schedule of {name}")
        found[name] = (np.linspace(0, 1, len(values)), (values - values[0]) / (values[-1] - values[0]))
    return found


EXPERIMENTS = {
    "D1": "Study dirac-path: one run of 50 calls without guidance on every picture; the estimate at each tenth. The "
    "Fréchet parts were added once the two distances had been seen to part on the pictures of the tuning.",
    "D2": "Plan dirac-table1: Gaussian blur of std 3 and a soft hole of std 25 at 128 pixels, noise 0.05. Dirac-PO is "
    "the stop of least Fréchet distance on the other half of the pictures, Dirac-DO that of highest PSNR; DPS has 100 "
    "calls, not 1000, and PnP-ADMM the prior `photo`. The Fréchet parts were added as those of D1.",
    "D3": "Study dirac-path: the residual |y - A x0_hat|^2 / (n sigma^2) of the network's own estimate.",
    "D4": "Plan dirac-table1.",
    "D5": "Plan dirac-lookahead: small networks, trained from nothing for 2000 steps, alike but "
    "for delta_t; 20 calls, and one.",
    "D6": "Plan dirac-guidance: 20 calls; the best of four step sizes for each scaling, chosen on the same pictures by "
    "PSNR, so that the figures favour guidance.",
    "D7": "`pellucid schedule` on photographs, with the feature distance for LPIPS; severities as shares of their "
    "range.",
}

TESTS: dict[str, Callable[[Results], Iterator[Part]]] = {
    "D1": d1,
    "D2": d2,
    "D3": d3,
    "D4": d4,
    "D5": d5,
    "D6": d6,
    "D7": d7,
}
