"""What else the experiments on ReSample's claims show: tables from the result files; they count towards no verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from pellucid.bench.claims.comparing import Pair, decibel, percent
from pellucid.bench.claims.remark import written
from pellucid.bench.claims.resample import OTHERS, PARTS, PHOTOS, TASKS
from pellucid.bench.claims.results import MissingResults, Results

NOISY = ("sr4 0.05", "deblur 0.05")
OPTIONS = "resample-options"


def of(name: str, results: Results) -> str:
    """What is said below a claim's table; a remark whose experiment was not run is left out."""
    return written(REMARKS, name, results)


def ceiling(results: Results) -> Iterator[str]:
    """R1: what the autoencoder makes of the true picture, and who is above it."""
    rows = results.table("ceiling")
    psnr, distance = (np.mean([float(row[c]) for row in rows]) for c in ("psnr", "effnet_distance"))
    yield (
        f"The autoencoder of the latent prior, `{rows[0]['codec']}`, gives the true pictures back at {psnr:.1f} dB and "
        f"a feature distance of {distance:.3f}. A method that answers with what it decodes cannot be expected to do "
        f"better where the measurement says more than that:"
    )
    yield ""
    yield "| task | resample | best of the pixel methods |"
    yield "|---|---|---|"
    for task in TASKS:
        found = {
            label: results.values(PHOTOS, task, label, "psnr").mean()
            for label in OTHERS[2:]
            if label in results.labels(PHOTOS, task)
        }
        best = max(found, key=lambda label: found[label])
        ours = results.values(PHOTOS, task, "resample", "psnr").mean()
        yield f"| {task} | {ours:.2f} dB | {best}, {found[best]:.2f} dB |"


def noisy(results: Results) -> Iterator[str]:
    """R1: the same at five times the noise."""
    if "resample" not in results.labels(PHOTOS, NOISY[0]):
        raise MissingResults(f"{PHOTOS}: {NOISY[0]} was not run")
    yield "At noise 0.05, resample against the others:"
    yield ""
    yield f"| | {' | '.join(f'{task}: PSNR | {task}: feature distance' for task in NOISY)} |"
    yield "|---|---|---|---|---|"
    for other in OTHERS:
        if not all(other in results.labels(PHOTOS, task) for task in NOISY):
            continue
        pairs = [Pair(results, PHOTOS, task, "resample", other) for task in NOISY]
        cells = [c for p in pairs for c in (decibel(p.difference("psnr")), percent(p.percent("effnet_distance")))]
        yield f"| {other} | {' | '.join(cells)} |"


def options(results: Results) -> Iterator[str]:
    """R1: the parts that the paper leaves open."""
    yield (
        "What the parts that the paper leaves open change in resample, which visits every 2nd step: a Latent-DPS step "
        "at every step, look-ahead by 5 steps, and a visit every 10th step alone:"
    )
    yield ""
    yield "| task | | PSNR | feature distance |"
    yield "|---|---|---|---|"
    tasks = dict.fromkeys(task for plan, task, _ in results.groups if plan == OPTIONS)
    if not tasks:
        raise MissingResults(f"{OPTIONS} was not run")
    for task in tasks:
        for label in ("with guidance", "with look-ahead", "every 10"):
            pair = Pair(results, OPTIONS, task, label, "resample")
            psnr, distance = pair.difference("psnr"), pair.percent("effnet_distance")
            yield f"| {task} | {label} | {decibel(psnr)} | {percent(distance)} |"


def variances(results: Results) -> Iterator[str]:
    """R3: the figures behind the parts."""
    yield "| task | | PSNR / dB | slopes | standard deviation over seeds | feature distance |"
    yield "|---|---|---|---|---|---|"
    for task in ("deblur", "deblur 0.05"):
        for label in ("resample", "encoding"):
            found = [
                f"{results.values(PARTS, task, label, column).mean():.{digits}f}"
                for column, digits in (("psnr", 2), ("detail", 3), ("spread", 4), ("effnet_distance", 4))
            ]
            yield f"| {task} | {label} | {' | '.join(found)} |"


def hole(results: Results) -> Iterator[str]:
    """R1: what PSNR hides in a hole."""
    pair = Pair(results, PHOTOS, "box", "resample", "dps")
    psnr, distance = pair.difference("psnr"), pair.percent("effnet_distance")
    if psnr.high > 0 and distance.low > 0:
        yield (
            "In a box nothing is measured, and the pictures above show what resample leaves there: a soft patch of "
            f"one colour, which PSNR forgives ({decibel(psnr)} against DPS) and the feature distance does not "
            f"({percent(distance)})."
        )


REMARKS: dict[str, tuple[Callable[[Results], Iterator[str]], ...]] = {
    "R1": (ceiling, hole, noisy, options),
    "R3": (variances,),
}
