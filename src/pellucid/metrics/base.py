"""The table of all metrics, by name."""

from __future__ import annotations

from pellucid.errors import UnknownNameError
from pellucid.metrics.consistency import residual, residual_rms
from pellucid.metrics.metric import Metric, SetMetric
from pellucid.metrics.pixels import ms_ssim, psnr, ssim
from pellucid.metrics.protocol import Protocol

WINDOW = "Gaussian window 11 x 11, std 1.5, K1 0.01, K2 0.03, mean over channels"

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "psnr",
            "dB",
            "higher",
            "peak signal-to-noise ratio",
            "peak 1, squared error averaged over an image's channels and pixels, at most 120 dB",
            double=True,
            score=lambda x, truth: psnr(x, truth, clip=False),  # the protocol has clipped already, or shall not
        ),
        Metric(
            "ssim",
            "",
            "higher",
            "structural similarity",
            f"{WINDOW}, edges reflected; torchmetrics",
            extra="metrics",
            double=True,
            score=ssim,
        ),
        Metric(
            "ms-ssim",
            "",
            "higher",
            "structural similarity on five scales",
            f"{WINDOW}; five scales, negative terms count as 0; sides of at least 176 px; torchmetrics",
            extra="metrics",
            double=True,
            score=ms_ssim,
        ),
        Metric(
            "residual",
            "sigma",
            "lower",
            "distance from the measurement in units of its noise; 1 is the truth's own",
            "||y - A(x)|| / (sqrt(n) sigma), n entries of y",
            needs_truth=False,
            needs_problem=True,
            double=True,
            score=residual,
        ),
        Metric(
            "residual_rms",
            "",
            "lower",
            "distance from the measurement in units of [0, 1]",
            "||y - A(x)|| / sqrt(n), n entries of y",
            needs_truth=False,
            needs_problem=True,
            double=True,
            score=residual_rms,
        ),
    )
}


def get(name: str) -> Metric:
    """The metric of that name.

    Raises:
        UnknownNameError: there is none; the message names the nearest.
    """
    if name not in METRICS:
        raise UnknownNameError("metric", name, METRICS)
    return METRICS[name]


__all__ = ["METRICS", "Metric", "Protocol", "SetMetric", "get"]
