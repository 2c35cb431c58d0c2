"""How well one number predicts another: correlations, slope, and the factor that calibrates it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pellucid.errors import ConfigError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Association:
    """Predicted against true values of n cases, all positive.

    Attributes:
        n: how many.
        spearman: correlation of the ranks.
        pearson: correlation of the values.
        pearson_log: correlation of their logarithms.
        slope: of log true against log predicted, least squares: 1 where a change of the prediction is one of the truth.
        ratio: geometric mean of true / predicted: 1 without bias; the temperature that removes it.
        spread: the factor that a prediction is off by, exp of the standard deviation of log(true / predicted).
    """

    n: int
    spearman: float
    pearson: float
    pearson_log: float
    slope: float
    ratio: float
    spread: float


def associate(predicted: ArrayLike, true: ArrayLike) -> Association:
    """The association of two rows of positive numbers.

    Raises:
        ConfigError: fewer than three of them, rows of different lengths, or numbers that are not positive and finite.
    """
    p, t = (np.asarray(values, np.float64).ravel() for values in (predicted, true))
    if len(p) != len(t) or len(p) < 3:
        raise ConfigError(f"an association needs two rows of the same length, three or more: not {len(p)} and {len(t)}")
    if not all(np.isfinite(v).all() and (v > 0).all() for v in (p, t)):
        raise ConfigError("an association of severities needs positive, finite numbers")
    log_p, log_t = np.log(p), np.log(t)
    error = log_t - log_p
    return Association(
        len(p),
        pearson(ranks(p), ranks(t)),
        pearson(p, t),
        pearson(log_p, log_t),
        slope(log_p, log_t),
        float(np.exp(error.mean())),
        float(np.exp(error.std())),
    )


def ranks(values: Floats) -> Floats:
    """1 .. n, equal values sharing the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middle = last - (counts - 1) / 2
    return np.asarray(middle[inverse.ravel()], np.float64)


def pearson(x: Floats, y: Floats) -> float:
    """Correlation of two rows; NaN where one is constant."""
    x, y = x - x.mean(), y - y.mean()
    length = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / length if length > 0 else float("nan")


def slope(x: Floats, y: Floats) -> float:
    """Of the least-squares line y = a + b x; NaN where x is constant."""
    centred = x - x.mean()
    square = float(centred @ centred)
    return float(centred @ (y - y.mean())) / square if square > 0 else float("nan")
