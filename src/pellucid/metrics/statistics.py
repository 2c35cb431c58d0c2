"""What a table may say of many numbers: mean, spread, and how sure the mean is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pellucid.errors import ConfigError

Kind = Literal["bca", "percentile"]
Floats = NDArray[np.float64]

RESAMPLES, LEVEL = 10_000, 0.95
ROOM = 4_000_000  # numbers of a block of resamples; 32 MB


@dataclass(frozen=True)
class Summary:
    """Numbers of n images.

    Attributes:
        n: how many.
        mean, std: over the images; the standard deviation is of the sample (n - 1), NaN for one image.
        low, high: the bootstrap interval of the mean; NaN for one image.
    """

    n: int
    mean: float
    std: float
    low: float
    high: float

    def __str__(self) -> str:
        if self.n < 2:
            return f"{self.mean:.4g}"
        return f"{self.mean:.4g} ± {self.std:.2g} [{self.low:.4g}, {self.high:.4g}]"


def summarise(
    values: ArrayLike,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
    kind: Kind = "bca",
) -> Summary:
    """Mean, standard deviation and bootstrap interval of the mean.

    Args:
        values: (n,), one an image.
        level: of the interval, between 0 and 1.
        resamples: how many sets of n are drawn, with replacement.
        seed: of the draws.
        kind: see `interval`.

    Raises:
        ConfigError: there are no values, they are not finite, or an option is out of range.
    """
    x = _checked(values, level, resamples)
    low, high = interval(x, level=level, resamples=resamples, seed=seed, kind=kind) if len(x) > 1 else (np.nan, np.nan)
    std = float(x.std(ddof=1)) if len(x) > 1 else float("nan")
    return Summary(len(x), float(x.mean()), std, float(low), float(high))


def paired(
    first: ArrayLike,
    second: ArrayLike,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
    kind: Kind = "bca",
) -> Summary:
    """The difference first - second on the same images: its interval without 0 in it says that they differ.

    Raises:
        ConfigError: the two are not of one length, or as for `summarise`.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape:
        raise ConfigError(f"a paired difference needs the same images on both sides, not {a.shape} and {b.shape}")
    return summarise(a - b, level=level, resamples=resamples, seed=seed, kind=kind)


def interval(
    values: ArrayLike,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
    kind: Kind = "bca",
) -> tuple[float, float]:
    """The bootstrap interval of the mean.

    "percentile" takes the quantiles (1 - level) / 2 and (1 + level) / 2 of the resampled means. "bca" (bias-corrected
    and accelerated: Efron, JASA 82, 1987) moves them by the bias z0 of the resamples and the acceleration a of the
    jackknife, which follows skewed values: Phi(z0 + (z0 + z) / (1 - a (z0 + z))). Both are too narrow for few images:
    for 10 normal values the 95 % interval covers about 90 %.

    Args:
        values: (n,), n at least 2.
        level, resamples, seed, kind: as above.

    Raises:
        ConfigError: as for `summarise`, or there is only one value.
    """
    x = _checked(values, level, resamples)
    if len(x) < 2:
        raise ConfigError("an interval needs at least 2 values")
    if kind not in ("bca", "percentile"):
        raise ConfigError(f"the bootstrap is bca or percentile, not {kind!r}")
    if np.ptp(x) == 0:
        return float(x[0]), float(x[0])
    means = np.concatenate(list(_means(x, resamples, seed)))
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    low, high = np.quantile(means, _moved(tails, x, means) if kind == "bca" else tails)
    return float(low), float(high)


def _means(x: Floats, resamples: int, seed: int) -> Iterator[Floats]:
    generator, block = np.random.default_rng(seed), max(1, ROOM // len(x))
    for first in range(0, resamples, block):
        count = min(block, resamples - first)
        yield x[generator.integers(len(x), size=(count, len(x)))].mean(1)


def _moved(tails: Floats, x: Floats, means: Floats) -> Floats:
    """BCa's quantiles in place of the percentile ones."""
    normal, mean = NormalDist(), x.mean()
    below = ((means < mean).mean() + (means <= mean).mean()) / 2
    bias = normal.inv_cdf(min(max(below, 0.5 / len(means)), 1 - 0.5 / len(means)))
    # Leaving one value out moves the mean by (mean - x_i) / (n - 1): the jackknife in closed form.
    jackknife = x - mean
    acceleration = (jackknife**3).sum() / (6 * ((jackknife**2).sum()) ** 1.5)
    z = bias + np.array([normal.inv_cdf(tail) for tail in tails])
    return np.array([normal.cdf(value) for value in bias + z / (1 - acceleration * z)])


def _checked(values: ArrayLike, level: float, resamples: int) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) == 0:
        raise ConfigError(f"statistics take a row of numbers, not the shape {x.shape}")
    if not np.isfinite(x).all():
        raise ConfigError("statistics take finite numbers; some are NaN or infinite")
    if not 0 < level < 1:
        raise ConfigError(f"the level must lie between 0 and 1, not {level}")
    if resamples < 100:
        raise ConfigError(f"the bootstrap needs at least 100 resamples, not {resamples}")
    return x
