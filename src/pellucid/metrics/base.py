"""The table of all metrics, by name."""

from __future__ import annotations

from typing import Literal

from pellucid.errors import UnknownNameError
from pellucid.metrics import effnet, inception
from pellucid.metrics.consistency import residual, residual_rms
from pellucid.metrics.effnet import EffnetFrechet, effnet_distance
from pellucid.metrics.inception import FID, KID
from pellucid.metrics.iqa import blind
from pellucid.metrics.lpips import TRUNKS, Net, lpips
from pellucid.metrics.metric import Metric, SetMetric
from pellucid.metrics.pixels import ms_ssim, psnr, ssim
from pellucid.metrics.protocol import Protocol

WINDOW = "Gaussian window 11 x 11, std 1.5, K1 0.01, K2 0.03, mean over channels"

POOLED = "Inception of 2015-12-05 as in pytorch-fid, 2048 pooled features, bilinear to 299 x 299, pictures not rounded"


def _lpips(net: Net) -> Metric:
    file = TRUNKS[net].file
    return Metric(
        f"lpips-{net}",
        "",
        "lower",
        f"learned perceptual distance on {file.what}",
        f"LPIPS 0.1 on {file.what}, mean over positions, sum over layers",
        extra="metrics",
        weights=(file.name,),
        score=lpips(net),
    )


def _blind(name: str, better: Literal["higher", "lower"], summary: str, statement: str) -> Metric:
    return Metric(name, "", better, summary, statement, needs_truth=False, extra="iqa", score=blind(name))


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
        *map(_lpips, TRUNKS),
        Metric(
            "effnet_distance",
            "",
            "lower",
            "feature distance on EfficientNet-Lite0; not LPIPS, and not comparable to it",
            "unit-length features after blocks 0, 2, 4, 10, 15, unweighted, mean over positions and layers, in [0, 4]",
            extra="metrics",
            weights=(effnet.WEIGHTS.name,),
            score=effnet_distance,
        ),
        Metric(
            "fid",
            "",
            "lower",
            "Fréchet Inception distance of two sets",
            POOLED,
            per_image=False,
            weights=(inception.WEIGHTS.name,),
            gather=FID,
        ),
        Metric(
            "kid",
            "",
            "lower",
            "kernel Inception distance of two sets",
            f"{POOLED}; unbiased, kernel (a . b / 2048 + 1)^3",
            per_image=False,
            weights=(inception.WEIGHTS.name,),
            gather=KID,
        ),
        Metric(
            "effnet_frechet",
            "",
            "lower",
            "Fréchet distance of two sets on EfficientNet-Lite0; not FID, and not comparable to it",
            "112 features after block 10, pooled over each of 16 crops of 96 x 96 px a picture, no shrinkage",
            per_image=False,
            extra="metrics",
            weights=(effnet.WEIGHTS.name,),
            gather=EffnetFrechet,
        ),
        _blind("musiq", "higher", "quality without a truth, trained on KonIQ-10k, 0 to 100", "pyiqa's musiq (KonIQ)"),
        _blind(
            "musiq-ava", "higher", "aesthetic quality without a truth, trained on AVA, 1 to 10", "pyiqa's musiq-ava"
        ),
        _blind("niqe", "lower", "distance from the statistics of pristine photographs", "pyiqa's niqe"),
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
