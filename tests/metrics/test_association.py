"""Correlations, slope and calibration against scipy."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.errors import ConfigError
from pellucid.metrics.association import associate, pearson, ranks, slope

stats = pytest.importorskip("scipy.stats")


def rows(seed: int, n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Two related rows of positive numbers with equal ones among them."""
    rng = np.random.default_rng(seed)
    x = np.exp(rng.normal(size=n)).round(1) + 0.1
    return x, x**0.7 * np.exp(0.5 * rng.normal(size=n))


@pytest.mark.parametrize("seed", range(5))
def test_it_is_scipys(seed: int) -> None:
    p, t = rows(seed)
    assert len(np.unique(p)) < len(p)  # equal values are there
    known = associate(p, t)
    line = stats.linregress(np.log(p), np.log(t))
    assert known.n == 40
    assert known.spearman == pytest.approx(stats.spearmanr(p, t).statistic, abs=1e-12)
    assert known.pearson == pytest.approx(stats.pearsonr(p, t).statistic, abs=1e-12)
    assert known.pearson_log == pytest.approx(line.rvalue, abs=1e-12)
    assert known.slope == pytest.approx(line.slope, abs=1e-12)
    assert known.ratio == pytest.approx(stats.gmean(t / p), rel=1e-12)
    assert known.spread == pytest.approx(np.exp(np.log(t / p).std()), rel=1e-12)
    assert np.array_equal(ranks(p), stats.rankdata(p))


def test_the_ratio_calibrates() -> None:
    p, t = rows(7)
    after = associate(associate(p, t).ratio * p, t)
    before = associate(p, t)
    assert after.ratio == pytest.approx(1, rel=1e-12)
    assert (after.spearman, after.slope) == pytest.approx((before.spearman, before.slope), abs=1e-12)


def test_a_power_law_is_told() -> None:
    p = np.linspace(0.1, 3, 20)
    known = associate(p, 5 * p**2)
    assert (known.spearman, known.slope) == pytest.approx((1, 2))
    assert associate(p, 5 * p[::-1]).spearman == pytest.approx(-1)


def test_constant_rows_have_no_correlation() -> None:
    one, x = np.ones(4), np.arange(4.0)
    assert np.isnan(pearson(one, x)) and np.isnan(slope(one, x)) and slope(x, one) == 0
    assert np.isnan(associate(one, x + 1).spearman)


@pytest.mark.parametrize(
    ("p", "t"),
    [
        ([1, 2], [1, 2]),
        ([1, 2, 3], [1, 2]),
        ([1, 2, 0], [1, 2, 3]),
        ([1, 2, 3], [1, -2, 3]),
        ([1, 2, 3], [1, 2, np.nan]),
    ],
)
def test_what_is_no_pair_of_positive_rows_is_refused(p: list[float], t: list[float]) -> None:
    with pytest.raises(ConfigError):
        associate(p, t)
