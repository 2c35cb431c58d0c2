"""The claims of ReSample (Song et al., ICLR 2024), R1 to R5 and R7, part by part. R6, memory, has a study of its own.

The paper says "better" throughout, without margins: a part holds where the difference has its sign.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from pellucid.bench.claims.comparing import Pair, decibel, distance_at_most, percent, plain, psnr_at_least
from pellucid.bench.claims.results import Floats, Results
from pellucid.bench.claims.verdict import Part, above, below
from pellucid.metrics.statistics import summarise

PHOTOS, PARTS, LARGE = "resample-photos", "resample-parts", "resample-512"
PHANTOMS, PATIENTS, INTERVAL = "resample-ct-phantoms", "resample-ct-patients", "resample-ct-interval"
PLANS = (PHOTOS, PARTS, "resample-options", PHANTOMS, PATIENTS, INTERVAL, LARGE)

TASKS = ("sr4", "random", "box", "deblur", "nonlinear")
OTHERS = ("ldps", "psld", "dps", "mcg", "ddrm", "dmps", "pnp-admm")
NONLINEAR = ("ldps", "dps")  # the others need a linear operator
LEVELS = {"deblur": 0.01, "deblur 0.05": 0.05}
INTERVALS = (25, 10, 5, 2)
CT_OTHERS = ("fbp", "fbp-unet", "pnp-unet", "mcg", "dps", "ldps")


def r1(results: Results) -> Iterator[Part]:
    """ReSample is better than every other method on every task, in PSNR and in perceptual distance."""
    for task in TASKS:
        for other in NONLINEAR if task == "nonlinear" else OTHERS:
            pair = Pair(results, PHOTOS, task, "resample", other)
            yield psnr_at_least(pair, 0.0)
            yield distance_at_most(pair, 0.0)


def r2(results: Results) -> Iterator[Part]:
    """What ReSample is ahead of DPS by is most on nonlinear deblurring."""
    most = gaps(results, "nonlinear")
    for task in TASKS[:-1]:
        other = gaps(results, task)
        more = summarise(most[0] - other[0])
        what = f"how much more PSNR resample has than dps: nonlinear less {task}"
        yield Part(what, "more than 0 dB", decibel(more), above(more, 0))
        nearer = summarise(most[1] - other[1])
        what = f"how much nearer in feature distance resample is than dps: nonlinear less {task}"
        yield Part(what, "more than 0, in % of dps's", percent(nearer), above(nearer, 0))


def gaps(results: Results, task: str) -> tuple[Floats, Floats]:
    """By picture, how far ReSample is ahead of DPS: in dB, and in percent of DPS's mean feature distance."""
    pair = Pair(results, PHOTOS, task, "resample", "dps")
    ours, theirs = pair.both("effnet_distance")
    return np.subtract(*pair.both("psnr")), 100 * (theirs - ours) / theirs.mean()


def r3(results: Results) -> Iterator[Part]:
    """Resampling has a higher PSNR than stochastic encoding, is smoother, and varies less from seed to seed."""
    for task, level in LEVELS.items():
        pair = Pair(results, PARTS, task, "resample", "encoding")
        name = f"{task}: resampling against stochastic encoding"
        number = pair.difference("psnr")
        yield Part(f"{name}: PSNR", "more than 0 dB", decibel(number), above(number, 0))
        if level == 0.05:
            number = pair.percent("detail")
            yield Part(f"{name}: slopes of neighbouring pixels", "smaller", percent(number), below(number, 0))
        number = pair.percent("spread")
        yield Part(f"{name}: standard deviation over seeds", "smaller", percent(number), below(number, 0))


def r4(results: Results) -> Iterator[Part]:
    """The more often ReSample resamples, the better is the CT slice."""
    for rare, often in pairwise(INTERVALS):
        pair = Pair(results, INTERVAL, "ct", f"every {often}", f"every {rare}")
        number = pair.difference("psnr")
        what = f"phantoms: PSNR at every {often} steps less that at every {rare}"
        yield Part(what, "more than 0 dB", decibel(number), above(number, 0))


def r5(results: Results) -> Iterator[Part]:
    """On CT of 25 angles ReSample is better than every other method."""
    for other in CT_OTHERS:
        pair = Pair(results, PHANTOMS, "ct", "resample", other)
        number = pair.difference("psnr")
        yield Part(f"phantoms: resample against {other}: PSNR", "more than 0 dB", decibel(number), above(number, 0))
        number = pair.difference("ssim")
        yield Part(f"phantoms: resample against {other}: SSIM", "more than 0", plain(number), above(number, 0))
    for other in (label for label in CT_OTHERS if label != "mcg"):
        differences = np.subtract(*Pair(results, PATIENTS, "ct", "resample", other).both("psnr"))
        yield one_by_one(f"other patients: resample against {other}: PSNR", differences)


def one_by_one(what: str, differences: Floats, unit: str = " dB") -> Part:
    """A part on too few pictures for an interval: all must be above 0, or none is."""
    over = differences > 0
    holds = True if over.all() else None if over.any() else False
    return Part(what, f"more than 0{unit}", f"{', '.join(f'{d:+.2f}' for d in differences)}{unit}", holds)


def r7(results: Results) -> Iterator[Part]:
    """At 512 pixels ReSample does what it does at smaller sizes."""
    pair = Pair(results, LARGE, "random", "resample", "admm-tv")
    yield one_by_one(f"{pair.name}: PSNR", np.subtract(*pair.both("psnr")))
    ours, theirs = pair.both("effnet_distance")
    yield one_by_one(f"{pair.name}: nearer in feature distance", theirs - ours, unit="")
    large = results.values(LARGE, "random", "resample", "psnr")
    names = results.images(PHOTOS, "random", "resample")
    small = dict(zip(names, results.values(PHOTOS, "random", "resample", "psnr"), strict=True))
    gained = large - np.array([small[name] for name in results.images(LARGE, "random", "resample")])
    yield one_by_one("random: PSNR of resample at 512 pixels less that of the same pictures at 128", gained)


EXPERIMENTS = {
    "R1": "Plan resample-photos, noise 0.01: ReSample, Latent-DPS and PSLD on `photo-latent`, the others on `photo`; "
    "50 steps each.",
    "R2": "Plan resample-photos, noise 0.01.",
    "R3": "Plan resample-parts: 2 seeds a picture, in PSNR and slopes the mean over them; slopes are the mean absolute "
    "difference of neighbouring pixels over the true picture's.",
    "R4": "Plan resample-ct-interval: 50 steps, hard consistency at every 25th to every 2nd step of the last two "
    "thirds, and no optimisation at the end.",
    "R5": "Plans resample-ct-phantoms and resample-ct-patients, 50 steps: ReSample and Latent-DPS on `ct-latent`, DPS, "
    "MCG and PnP-ADMM (`pnp-unet`) on `ct`; three slices of other patients, slice by slice in the order "
    "of their names (head, chest, abdomen), without an interval.",
    "R7": "Plans resample-512 and resample-photos: 70 % of the pixels missing, noise 0.01; two pictures one by one.",
}

TESTS: dict[str, Callable[[Results], Iterator[Part]]] = {
    "R1": r1,
    "R2": r2,
    "R3": r3,
    "R4": r4,
    "R5": r5,
    "R7": r7,
}
