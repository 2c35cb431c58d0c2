"""Fidelity to the true picture, pixel by pixel and window by window."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from pellucid.metrics.errors import MetricError
from pellucid.metrics.protocol import require_pair

# Five scales of a window of 11 pixels: 16 times ten pixels must be less than a side.
MS_SSIM_SIDE = 176
SSIM_SIDE = 11


def psnr(x: Tensor, truth: Tensor, *, clip: bool = True, at_most: float = 120.0) -> Tensor:
    """PSNR = -10 log10(mean squared error) in dB of every image, for the range [0, 1], in float64.

    Args:
        x, truth: (b, ...) of one shape.
        clip: whether both are clipped to [0, 1] first, as they are shown.
        at_most: what equal pictures get in place of infinity.

    Returns:
        (b,) float64.

    Raises:
        MetricError: the shapes differ.
    """
    require_pair(x, truth)
    x, truth = x.double(), truth.double()
    if clip:
        x, truth = x.clamp(0, 1), truth.clamp(0, 1)
    error = (x - truth).square().flatten(1).mean(1)
    return -10 * torch.log10(error.clamp(min=10 ** (-at_most / 10)))


def ssim(x: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity of every image, (b,): Wang et al., IEEE TIP 13(4), 2004.

    Gaussian window of 11 x 11 pixels and standard deviation 1.5, K1 = 0.01, K2 = 0.03, data range 1; the mean over
    the windows around all pixels and over the channels. Computed by torchmetrics, which reflects the picture at its
    edges, where the paper takes the windows inside of it only.

    Raises:
        MetricError: torchmetrics is missing, or a side is shorter than the window.
    """
    _require_side("ssim", x, SSIM_SIDE)
    image = _torchmetrics("ssim")
    scores: Tensor = image.structural_similarity_index_measure(
        x, truth, sigma=1.5, data_range=1.0, k1=0.01, k2=0.03, reduction="none"
    )
    return scores.reshape(len(x))


def ms_ssim(x: Tensor, truth: Tensor) -> Tensor:
    """Multi-scale structural similarity of every image, (b,): Wang, Simoncelli, Bovik, Asilomar 2003.

    SSIM's window on five scales, halved by 2 x 2 means, with the exponents 0.0448, 0.2856, 0.3001, 0.2363, 0.1333;
    negative terms count as 0. Computed by torchmetrics, which reflects the edges for the coarsest scale's SSIM and
    takes the windows inside the picture for the contrast terms.

    Raises:
        MetricError: torchmetrics is missing, or a side is shorter than 176 pixels.
    """
    _require_side("ms-ssim", x, MS_SSIM_SIDE)
    image = _torchmetrics("ms-ssim")
    scores: Tensor = image.multiscale_structural_similarity_index_measure(
        x, truth, sigma=1.5, data_range=1.0, k1=0.01, k2=0.03, reduction="none", normalize="relu"
    )
    return scores.reshape(len(x))


def _require_side(name: str, x: Tensor, side: int) -> None:
    if min(x.shape[-2:]) < side:
        raise MetricError(f"{name} needs pictures of at least {side} px a side, not {x.shape[-2]} x {x.shape[-1]}")


def _torchmetrics(name: str) -> ModuleType:
    try:
        import torchmetrics.functional.image as image
    except ImportError as error:
        raise MetricError(f"{name} needs torchmetrics: pip install 'pellucid[metrics]'") from error
    return image
