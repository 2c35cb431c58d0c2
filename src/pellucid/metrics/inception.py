"""FID and KID on the Inception network of the original FID, with the weights that pytorch-fid publishes.

Heusel et al., NeurIPS 2017. The network is the TensorFlow graph of 2015-12-05: it averages without the padding's zeros,
and its last block takes a maximum where the paper of Inception-v3 takes a mean.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d

from pellucid.metrics.features import three_channels
from pellucid.metrics.frechet import Frechet, Kernel
from pellucid.metrics.protocol import PLAIN, Protocol
from pellucid.metrics.weights import WeightFile, fill, read_weights

WEIGHTS = WeightFile(
    "pt_inception-2015-12-05-6726825d.pth",
    "the Inception network of FID",
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
)
SIDE, DIMENSION = 299, 2048

Size = int | tuple[int, int]


class Unit(nn.Module):
    """Convolution, normalisation, ReLU; padded so that the size stays, unless `valid` or strided."""

    def __init__(self, channels: int, out: int, kernel: Size = 1, stride: int = 1, *, valid: bool = False) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (0, 0) if valid or stride > 1 else (sides[0] // 2, sides[1] // 2)
        self.conv = nn.Conv2d(channels, out, sides, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """(b, channels, h, w) -> (b, out, ., .)."""
        return self.bn(self.conv(x)).relu()


def _mean(x: Tensor) -> Tensor:
    return avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class A(nn.Module):
    """Inception block at 35 x 35."""

    def __init__(self, channels: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Unit(channels, 64)
        self.branch5x5_1, self.branch5x5_2 = Unit(channels, 48), Unit(48, 64, 5)
        self.branch3x3dbl_1, self.branch3x3dbl_2, self.branch3x3dbl_3 = (
            Unit(channels, 64),
            Unit(64, 96, 3),
            Unit(96, 96, 3),
        )
        self.branch_pool = Unit(channels, pooled)

    def forward(self, x: Tensor) -> Tensor:
        """The branches side by side."""
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(_mean(x))], 1)


class B(nn.Module):
    """From 35 x 35 to 17 x 17."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3 = Unit(channels, 384, 3, 2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Unit(channels, 64), Unit(64, 96, 3)
        self.branch3x3dbl_3 = Unit(96, 96, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """The branches side by side."""
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), three, max_pool2d(x, 3, 2)], 1)


class C(nn.Module):
    """Inception block at 17 x 17, with filters of one row and one column."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.branch1x1 = Unit(channels, 192)
        self.branch7x7_1, self.branch7x7_2 = Unit(channels, inner), Unit(inner, inner, (1, 7))
        self.branch7x7_3 = Unit(inner, 192, (7, 1))
        self.branch7x7dbl_1, self.branch7x7dbl_2 = Unit(channels, inner), Unit(inner, inner, (7, 1))
        self.branch7x7dbl_3, self.branch7x7dbl_4 = Unit(inner, inner, (1, 7)), Unit(inner, inner, (7, 1))
        self.branch7x7dbl_5 = Unit(inner, 192, (1, 7))
        self.branch_pool = Unit(channels, 192)

    def forward(self, x: Tensor) -> Tensor:
        """The branches side by side."""
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([self.branch1x1(x), once, twice, self.branch_pool(_mean(x))], 1)


class D(nn.Module):
    """From 17 x 17 to 8 x 8."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Unit(channels, 192), Unit(192, 320, 3, 2)
        self.branch7x7x3_1, self.branch7x7x3_2 = Unit(channels, 192), Unit(192, 192, (1, 7))
        self.branch7x7x3_3, self.branch7x7x3_4 = Unit(192, 192, (7, 1)), Unit(192, 192, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """The branches side by side."""
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([three, seven, max_pool2d(x, 3, 2)], 1)


class E(nn.Module):
    """Inception block at 8 x 8, with forked branches; `pool` says what its last branch starts with."""

    def __init__(self, channels: int, pool: Literal["mean", "max"]) -> None:
        super().__init__()
        self.pool = pool
        self.branch1x1 = Unit(channels, 320)
        self.branch3x3_1 = Unit(channels, 384)
        self.branch3x3_2a, self.branch3x3_2b = Unit(384, 384, (1, 3)), Unit(384, 384, (3, 1))
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Unit(channels, 448), Unit(448, 384, 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = Unit(384, 384, (1, 3)), Unit(384, 384, (3, 1))
        self.branch_pool = Unit(channels, 192)

    def forward(self, x: Tensor) -> Tensor:
        """The branches side by side."""
        one = self.branch3x3_1(x)
        two = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = _mean(x) if self.pool == "mean" else max_pool2d(x, 3, 1, 1)
        forks = [self.branch3x3_2a(one), self.branch3x3_2b(one), self.branch3x3dbl_3a(two), self.branch3x3dbl_3b(two)]
        return torch.cat([self.branch1x1(x), *forks, self.branch_pool(pooled)], 1)


class Inception(nn.Module):
    """Pooled features of FID's Inception network; attributes are named as in the published file.

    The published file also holds a classifier of 1008 classes, `fc`, which is not needed here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Unit(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = Unit(32, 32, 3, valid=True)
        self.Conv2d_2b_3x3 = Unit(32, 64, 3)
        self.Conv2d_3b_1x1 = Unit(64, 80)
        self.Conv2d_4a_3x3 = Unit(80, 192, 3, valid=True)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = A(192, 32), A(256, 64), A(288, 64)
        self.Mixed_6a = B(288)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = C(768, 128), C(768, 160), C(768, 160), C(768, 192)
        self.Mixed_7a = D(768)
        self.Mixed_7b, self.Mixed_7c = E(1280, "mean"), E(2048, "max")

    def forward(self, x: Tensor) -> Tensor:
        """(b, 1 or 3, h, w) in [0, 1] -> (b, 2048): bilinearly to 299 x 299, without antialiasing, and to [-1, 1]."""
        x = interpolate(three_channels(x), (SIDE, SIDE), mode="bilinear", align_corners=False)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(2 * x - 1)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(max_pool2d(x, 3, 2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return x.mean((2, 3))


def load_inception(path: Path | None = None) -> Inception:
    """The network with its published weights, ready to be evaluated.

    Args:
        path: a file; None: wherever the published one is found.

    Raises:
        MetricError: it is missing, not the published one, or does not fit.
    """
    path = path or WEIGHTS.find()
    network = Inception()
    fill(network, read_weights(path), path, ignored=("fc.",))
    return network.eval().requires_grad_(False)


def _features(network: Inception, pictures: Tensor) -> Tensor:
    network = network.to(pictures.device)
    return torch.cat([network(part) for part in pictures.float().split(16)])


class FID(Frechet):
    """Fréchet Inception distance, on pictures that are not rounded to 8 bits.

    Args:
        protocol: how pictures are prepared.
        path: the file of weights; None: wherever the published one is found.

    Raises:
        MetricError: it is missing, not the published one, or does not fit.
    """

    dimension = DIMENSION

    def __init__(self, protocol: Protocol = PLAIN, path: Path | None = None) -> None:
        super().__init__(protocol)
        self.network = load_inception(path) if path else _shared()

    def features(self, pictures: Tensor) -> Tensor:
        """(b, c, h, w) -> (b, 2048)."""
        return _features(self.network, pictures)


class KID(Kernel):
    """Kernel Inception distance, on pictures that are not rounded to 8 bits.

    Args:
        protocol: how pictures are prepared.
        subsets, size, seed: of the random subsets.
        path: the file of weights; None: wherever the published one is found.

    Raises:
        MetricError: it is missing, not the published one, or does not fit.
    """

    dimension = DIMENSION

    def __init__(
        self,
        protocol: Protocol = PLAIN,
        subsets: int = 100,
        size: int = 1000,
        seed: int = 0,
        path: Path | None = None,
    ) -> None:
        super().__init__(protocol, subsets, size, seed)
        self.network = load_inception(path) if path else _shared()

    def features(self, pictures: Tensor) -> Tensor:
        """(b, c, h, w) -> (b, 2048)."""
        return _features(self.network, pictures)


@lru_cache(maxsize=1)
def _shared() -> Inception:
    return load_inception()
