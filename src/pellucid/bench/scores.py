"""Metrics of an experiment, found out to work before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from torch import Tensor

from pellucid import metrics
from pellucid.errors import ConfigError
from pellucid.metrics import METRICS, Metric, Protocol, SetMetric
from pellucid.metrics.frechet import FeatureSets

ALWAYS = ("residual", "residual_rms")  # these have columns of their own


def find(name: str) -> Metric:
    """The metric of that name, with hyphens and underscores alike. Raises `UnknownNameError`."""
    alike = {known.replace("-", "_"): known for known in METRICS}
    return metrics.get(alike.get(name.replace("-", "_"), name))


def per_image(names: Sequence[str]) -> list[Metric]:
    """Those of single pictures, apart from the residual."""
    return [m for m in map(find, names) if m.per_image and m.name not in ALWAYS]


def of_sets(names: Sequence[str]) -> list[Metric]:
    """Those of whole sets."""
    return [m for m in map(find, names) if not m.per_image]


@lru_cache(maxsize=8)
def gathering(name: str, protocol: Protocol) -> SetMetric:
    """An empty set metric, its network loaded once a process."""
    return find(name).accumulate(protocol)


def features(metric: Metric, protocol: Protocol, pictures: Tensor) -> Tensor:
    """Features of pictures (b, c, h, w) in [0, 1]: (b, n, d).

    Raises:
        ConfigError: the metric keeps no features.
    """
    gathered = gathering(metric.name, protocol)
    if not isinstance(gathered, FeatureSets):
        raise ConfigError(f"{metric.name} keeps no features; save = true keeps the pictures")
    found = gathered.features(protocol.prepare(pictures))
    return found.reshape(len(pictures), -1, found.shape[-1])


def probe(names: Sequence[str], protocol: Protocol, picture: Tensor) -> None:
    """Computes every metric once, so that missing weights and libraries are known before any work.

    Args:
        names: of the metrics.
        protocol: how pictures are prepared.
        picture: one of the experiment, (1, c, h, w).

    Raises:
        UnknownNameError: there is no such metric.
        MetricError: one cannot be computed for such pictures.
    """
    for metric in per_image(names):
        metric(picture, None if not metric.needs_truth else picture, protocol=protocol)
    for metric in of_sets(names):
        gathered = gathering(metric.name, protocol)
        if isinstance(gathered, FeatureSets):
            features(metric, protocol, picture)
