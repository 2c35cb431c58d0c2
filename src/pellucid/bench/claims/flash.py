"""The claims of Flash-Diffusion (Fabian et al., ICML 2024), F2 to F6, part by part. F1 has a study of its own.

Margins come from the claims: the paper's "near-optimal" and "costs little" are read as what it calls so itself, 2 % of
perceptual distance on its Fig. 4, and in Table 2 0.2 dB and 5.4 % (LPIPS .2362 for .2241); "half" lets pass 0.55.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from pellucid.bench.claims.comparing import (
    Pair,
    decibel,
    distance_at_most,
    frechet_at_most,
    percent,
    plain,
    psnr_at_least,
)
from pellucid.bench.claims.results import Floats, Results, of_replicates
from pellucid.bench.claims.verdict import Part, above, below
from pellucid.metrics.association import pearson, ranks
from pellucid.metrics.statistics import Summary, summarise

STARTS, AGAIN, OPTIONS, PIXEL = "flash-starts", "flash-starts-again", "flash-options", "flash-pixel"
MIXED = "flash-mixed"
TABLES = {"blur": "flash-blur", "nonlinear": "flash-nonlinear"}
ENCODERS = {"blur": "flash-encoders", "nonlinear": "flash-nonlinear"}
PLANS = (STARTS, AGAIN, MIXED, *TABLES.values(), ENCODERS["blur"], OPTIONS, PIXEL)
FIXED = (2, 5, 10, 20, 40, 80)
OTHERS = ("dps", "ccdf-dps", "ccdf-l")
NEAR, HALF, SPREAD = 2.0, 0.55, 2.0  # percent; a ratio; a ratio
LOSS, LITTLE = 0.2, 5.4  # dB; percent
RESAMPLES = 2000
TINY = 1e-9  # where every start is the best of its picture, nothing is lost, and nothing claimed

Chosen = NDArray[np.int64]


def resampled(figure: Callable[[Chosen], float], count: int) -> Summary:
    """A figure of a set of `count` pictures, with the percentile interval over resamples of the pictures.

    Resamples of which there is no such figure are left out; of none at all the interval is NaN, and decides nothing.
    """
    generator = np.random.default_rng(0)
    found = np.array([figure(generator.integers(count, size=count)) for _ in range(RESAMPLES)])
    found = found[np.isfinite(found)]
    low, high = np.quantile(found, [0.025, 0.975]) if len(found) > 1 else (np.nan, np.nan)
    return Summary(
        count, figure(np.arange(count)), float(found.std()) if len(found) else np.nan, float(low), float(high)
    )


def curves(results: Results, plan: str, column: str = "effnet_distance") -> Floats:
    """A column at the fixed starts, (starts, pictures)."""
    return np.stack([results.values(plan, "blur", f"fixed {n}", column) for n in FIXED])


def f2(results: Results) -> Iterator[Part]:
    """The best start differs by picture; one for all over-diffuses some and under-diffuses others."""
    runs = [curves(results, plan) for plan in (STARTS, AGAIN)]
    common = int(np.mean(runs, axis=0).mean(1).argmin())
    lost = summarise(regrets(runs, [run[common] for run in runs]))
    what = (
        f"fixed {FIXED[common]}, the best for all, against the start that is best for the picture with the other seed"
    )
    yield Part(f"{what}: feature distance", "larger", percent(lost), above(lost, TINY))
    for name, side in (("over", range(common)), ("under", range(common + 1, len(FIXED)))):
        found = int(diffused(runs, common, list(side)).sum())
        what = f"pictures that fixed {FIXED[common]} {name}-diffuses: nearer by {NEAR:g} % elsewhere, with both seeds"
        yield Part(what, "at least one", f"{found} of {runs[0].shape[1]}", found > 0)
    number = agreement(results)
    what = "rank correlation of the predicted start with the best fixed one"
    yield Part(what, "more than 0", plain(number, 2), above(number, 0))


def regrets(runs: list[Floats], found: list[Floats]) -> Floats:
    """By picture, how much larger a distance is than from the picture's best start, in percent of the mean there.

    The best start is chosen with one seed and judged with the other, so that luck of a seed is no merit of a start.

    Args:
        runs: distances from the fixed starts, (starts, pictures), with one seed each.
        found: the distances that are judged, (pictures,), with the same seeds.
    """
    best = [chosen[other.argmin(0), np.arange(chosen.shape[1])] for chosen, other in ((runs[0], runs[1]), runs[::-1])]
    return np.mean([100 * (f - b) / b.mean() for f, b in zip(found, best, strict=True)], axis=0)


def diffused(runs: list[Floats], common: int, side: list[int]) -> NDArray[np.bool_]:
    """By picture, whether one of the starts `side` is nearer than the common one with both seeds."""
    if not side:
        return np.zeros(runs[0].shape[1], bool)
    nearer = [run[side] < (1 - NEAR / 100) * run[common] for run in runs]
    return np.asarray((nearer[0] & nearer[1]).any(0))


def agreement(results: Results) -> Summary:
    """Spearman's correlation, over pictures, of the predicted start and the best fixed one by the mean of two seeds."""
    predicted = results.values(STARTS, "blur", "flash", "nfe")
    best = np.mean([curves(results, plan) for plan in (STARTS, AGAIN)], axis=0).argmin(0).astype(float)
    return resampled(lambda i: pearson(ranks(predicted[i]), ranks(best[i])), len(best))


def f3(results: Results) -> Iterator[Part]:
    """Flash is nearer than DPS, CCDF-DPS and CCDF-L; SwinIR has the better PSNR."""
    for task in TABLES:
        for other in OTHERS:
            pair = Pair(results, TABLES[task], task, "flash", other)
            yield distance_at_most(pair, 0.0)
            yield frechet_at_most(pair, 0.0)
        yield psnr_at_least(Pair(results, TABLES[task], task, "swinir", "flash"), 0.0)


def f4(results: Results) -> Iterator[Part]:
    """Flash is about as near as the best fixed start, in half the steps; the predicted steps are spread."""
    fixed, flash = curves(results, STARTS), results.values(STARTS, "blur", "flash", "effnet_distance")
    steps = results.values(STARTS, "blur", "flash", "nfe")
    yield distance_at_most(Pair(results, STARTS, "blur", "flash", f"fixed {FIXED[fixed.mean(1).argmin()]}"), NEAR)
    number = resampled(lambda i: steps[i].mean() / FIXED[fixed[:, i].mean(1).argmin()], len(steps))
    what = "mean steps of flash over those of the fixed start that is nearest on average"
    yield Part(what, f"at most {HALF:g}", plain(number), below(number, HALF))
    number = resampled(lambda i: steps[i].mean() / equal(fixed[:, i].mean(1), flash[i].mean()), len(steps))
    what = "mean steps of flash over those of the cheapest fixed start that is as near"
    yield Part(what, f"at most {HALF:g}", plain(number), below(number, HALF))
    sets = np.stack([results.frechet(STARTS, "blur", f"fixed {n}") for n in FIXED])
    own = results.frechet(STARTS, "blur", "flash")
    yield frechet_at_most(Pair(results, STARTS, "blur", "flash", f"fixed {FIXED[sets[:, 0].argmin()]}"), NEAR)
    number = of_replicates(np.array([steps.mean() / equal(sets[:, k], own[k]) for k in range(len(own))]))
    what = "mean steps of flash over those of the cheapest fixed start of its Fréchet distance"
    yield Part(what, f"at most {HALF:g}", plain(number), below(number, HALF))
    number = resampled(lambda i: float(np.divide(*np.quantile(steps[i], [0.9, 0.1]))), len(steps))
    what = "predicted steps: the quantile of 90 % over that of 10 %"
    yield Part(what, f"at least {SPREAD:g}", plain(number), above(number, SPREAD))


def equal(distances: Floats, wanted: float) -> float:
    """The steps after which the curve over `FIXED` first has come down to `wanted`, linear in their logarithm.

    The fewest that were run where it is there at once, which is then an upper bound; infinite where it never is.
    """
    for k, distance in enumerate(distances):
        if distance <= wanted:
            if k == 0:
                return float(FIXED[0])
            share = (distances[k - 1] - wanted) / (distances[k - 1] - distance)
            return float(FIXED[k - 1] * (FIXED[k] / FIXED[k - 1]) ** share)
    return float("inf")


def f5(results: Results) -> Iterator[Part]:
    """A wrong encoder costs little where its family contains the true one, and more where it does not."""
    within = [("blur", "other family"), *((task, "several families") for task in ENCODERS)]
    for task, label in within:
        pair = Pair(results, ENCODERS[task], task, label, "flash")
        yield psnr_at_least(pair, -LOSS)
        yield distance_at_most(pair, LITTLE)
    outside = Pair(results, ENCODERS["nonlinear"], "nonlinear", "other family", "flash")
    inside = Pair(results, ENCODERS["nonlinear"], "nonlinear", "several families", "flash")
    lost = summarise(np.subtract(*outside.both("psnr")) - np.subtract(*inside.both("psnr")))
    what = "nonlinear: what the encoder of the other family costs, less what that of several families does"
    yield Part(f"{what}: PSNR", "less than 0 dB", decibel(lost), below(lost, 0))
    more = summarise(cost(outside) - cost(inside))
    yield Part(f"{what}: feature distance", "more than 0, in % of flash's", percent(more), above(more, 0))


def cost(pair: Pair) -> Floats:
    """By picture, how much larger the first's feature distance is, in percent of the second's mean."""
    first, second = pair.both("effnet_distance")
    return np.asarray(100 * (first - second) / second.mean())


def f6(results: Results) -> Iterator[Part]:
    """Correction noise with c = 1.2 brings z_hat nearer than none, than half of it, and than a start without any."""
    for other in ("c 0", "c 0.5", "flash"):
        pair = Pair(results, OPTIONS, "blur", "c 1.2", other)
        number = pair.percent("effnet_distance")
        name = "the exact start" if other == "flash" else other
        yield Part(f"c 1.2 against {name}: feature distance", "smaller", percent(number), below(number, 0))


EXPERIMENTS = {
    "F2": "Plans flash-starts and flash-starts-again: Gaussian blur of 0.3 to 3 pixels, another strength for every "
    "picture, noise 0.05; Flash with Latent-DPS on DDPM's 1000 steps, from the predicted start and from fixed ones, "
    "all from the same z_hat; two seeds.",
    "F3": "Plans flash-blur and flash-nonlinear, noise 0.05. The baselines' settings are the best of grids on four "
    "training pictures (plans flash-tune-*), by feature distance; Flash has no setting that was tuned. "
    "SwinIR is a light one, 0.15 million parameters, trained for four minutes of a core.",
    "F4": "Plan flash-starts.",
    "F5": 'Plans flash-encoders and flash-nonlinear: Flash with the encoder of the other task ("other family") and '
    'with one that was trained for both, missing pixels and darkening ("several families").',
    "F6": "Plan flash-options: z = sqrt(1 - c s2) z_hat + sqrt(c s2) n, as in the paper, against the exact start "
    "alpha z_hat, which adds no noise.",
}

TESTS: dict[str, Callable[[Results], Iterator[Part]]] = {"F2": f2, "F3": f3, "F4": f4, "F5": f5, "F6": f6}
