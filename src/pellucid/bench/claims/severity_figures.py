"""Figures of the severity study from its lists: correlations with intervals over pictures, and shares of pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.metrics.association import Association, associate, pearson, ranks
from pellucid.metrics.statistics import Summary

RESAMPLES = 2000
Floats = NDArray[np.float64]
Chosen = NDArray[np.int64]
Run = Mapping[str, Any]


def over_pictures(figure: Callable[[Chosen], float], count: int) -> Summary:
    """A figure of `count` pictures with the percentile interval over resamples of them."""
    generator = np.random.default_rng(0)
    drawn = np.array([figure(generator.integers(count, size=count)) for _ in range(RESAMPLES)])
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Summary(count, figure(np.arange(count)), float(drawn.std(ddof=1)), float(low), float(high))


def table(values: Sequence[float], repeats: int) -> Floats:
    """(pictures, repeats)."""
    return np.asarray(values, np.float64).reshape(-1, repeats)


def spearman(x: Floats, y: Floats) -> float:
    """Correlation of the ranks of all entries."""
    return pearson(ranks(x.ravel()), ranks(y.ravel()))


def predicting(run: Run, repeats: int) -> tuple[Association, Summary]:
    """Predicted against true variances, and Spearman's correlation with its interval over pictures."""
    p, t = table(run["predicted"], repeats), table(run["true"], repeats)
    return associate(p, t), over_pictures(lambda chosen: spearman(p[chosen], t[chosen]), len(p))


def rising(values: Sequence[Sequence[float]]) -> tuple[Floats, int]:
    """Of rows of values at rising levels: Spearman's correlation with the level a row, and how many always rise."""
    rows = np.asarray(values, np.float64)
    levels = np.arange(rows.shape[1], dtype=np.float64)
    return np.array([spearman(levels, row) for row in rows]), int((np.diff(rows, axis=1) > 0).all(1).sum())


def along(stds: Sequence[float], predicted: Sequence[Sequence[float]]) -> Summary:
    """Spearman's correlation of level and prediction over all pictures and levels."""
    rows = np.asarray(predicted, np.float64)
    levels = np.broadcast_to(np.asarray(stds, np.float64), rows.shape)
    return over_pictures(lambda chosen: spearman(levels[chosen], rows[chosen]), len(rows))


def effects(predicted: Sequence[Sequence[float]]) -> Floats:
    """By how much, in the logarithm, a picture's predictions lie above all at the same level, (pictures,)."""
    rows = np.log(np.asarray(predicted, np.float64))
    return np.asarray((rows - rows.mean(0)).mean(1), np.float64)


def related(x: Sequence[float] | Floats, y: Sequence[float] | Floats) -> Summary:
    """Spearman's correlation of two numbers a picture."""
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return over_pictures(lambda chosen: spearman(a[chosen], b[chosen]), len(a))


def less(x: Sequence[float], y: Sequence[float]) -> int:
    """At how many places x < y."""
    return int((np.asarray(x) < np.asarray(y)).sum())


def geometric(x: Sequence[float], y: Sequence[float]) -> float:
    """The geometric mean of y / x."""
    return float(np.exp(np.mean(np.log(np.asarray(y, np.float64) / np.asarray(x, np.float64)))))


def between(number: Summary, digits: int = 2) -> str:
    """For a table."""
    return f"{number.mean:.{digits}f} [{number.low:.{digits}f}, {number.high:.{digits}f}]"
