"""Metrics, each with all that has to be said beside its number.

`METRICS["ssim"](x, truth)` is a number an image; `METRICS["fid"].accumulate()` takes two sets of pictures, batch by
batch. Libraries and weights are loaded by the metric that needs them, when it is used.
"""

from pellucid.metrics.base import METRICS, get
from pellucid.metrics.errors import MetricError
from pellucid.metrics.metric import Metric, SetMetric
from pellucid.metrics.pixels import psnr
from pellucid.metrics.protocol import Protocol

__all__ = ["METRICS", "Metric", "MetricError", "Protocol", "SetMetric", "get", "psnr"]
