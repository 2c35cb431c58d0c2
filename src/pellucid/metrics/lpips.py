"""LPIPS: Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018, version 0.1 of its weights.

The trunks are ImageNet classifiers that torchvision publishes, built here to the names in its files. The
heads, a few kilobytes, are those that torchmetrics ships.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from pellucid.metrics.errors import MetricError
from pellucid.metrics.features import distance, three_channels
from pellucid.metrics.weights import WeightFile, fill, read_weights

Net = Literal["alex", "vgg", "squeeze"]

# LPIPS' scaling layer, on pictures in [-1, 1].
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class Fire(nn.Module):
    """SqueezeNet's module: fewer channels, then 1 x 1 and 3 x 3 filters side by side."""

    def __init__(self, channels: int, squeezed: int, each: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, each, 1)
        self.expand3x3 = nn.Conv2d(squeezed, each, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, channels, h, w) -> (b, 2 each, h, w)."""
        x = self.squeeze(x).relu()
        return torch.cat([self.expand1x1(x), self.expand3x3(x)], 1).relu()


def _alex() -> list[nn.Module]:
    def convolution(channels: int, out: int, kernel: int, padding: int, stride: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(channels, out, kernel, stride, padding), nn.ReLU()]

    pool = nn.MaxPool2d(3, 2)
    first, second = convolution(3, 64, 11, 2, 4), convolution(64, 192, 5, 2)
    rest = convolution(192, 384, 3, 1) + convolution(384, 256, 3, 1) + convolution(256, 256, 3, 1)
    return [*first, pool, *second, pool, *rest]


def _vgg() -> list[nn.Module]:
    layers: list[nn.Module] = []
    channels = 3
    for out, repeats in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(repeats):
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.ReLU()]
            channels = out
        layers.append(nn.MaxPool2d(2))
    return layers[:-1]


def _squeeze() -> list[nn.Module]:
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    start = [nn.Conv2d(3, 64, 3, 2), nn.ReLU(), pool]
    fires = [Fire(64, 16, 64), Fire(128, 16, 64), pool, Fire(128, 32, 128), Fire(256, 32, 128), pool]
    return [*start, *fires, Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)]


@dataclass(frozen=True)
class Trunk:
    """A classifier's convolutional part.

    Attributes:
        layers: builds it; the file calls layer i `features.i`.
        taps: the layers whose outputs are compared.
        channels: of each of those outputs.
        file: the published weights.
    """

    layers: Callable[[], list[nn.Module]]
    taps: tuple[int, ...]
    channels: tuple[int, ...]
    file: WeightFile


def _published(name: str, what: str) -> WeightFile:
    return WeightFile(name, what, f"https://download.pytorch.org/models/{name}")


TRUNKS: dict[Net, Trunk] = {
    "alex": Trunk(_alex, (1, 4, 7, 9, 11), (64, 192, 384, 256, 256), _published("alexnet-owt-7be5be79.pth", "AlexNet")),
    "vgg": Trunk(_vgg, (3, 8, 15, 22, 29), (64, 128, 256, 512, 512), _published("vgg16-397923af.pth", "VGG16")),
    "squeeze": Trunk(
        _squeeze,
        (1, 4, 7, 9, 10, 11, 12),
        (64, 128, 256, 384, 384, 512, 512),
        _published("squeezenet1_1-b8a52dc0.pth", "SqueezeNet 1.1"),
    ),
}


class LPIPS(nn.Module):
    """Learned perceptual distance of two pictures.

    d(x, x') = sum_l mean_p w_l . (f_l(x)_p / |f_l(x)_p| - f_l(x')_p / |f_l(x')_p|)^2 over the layers l and positions
    p, with the learned weights w_l >= 0. Differentiable in both pictures.

    Args:
        net: "alex", which LPIPS' authors compare with; "vgg", which most papers on inverse problems state; "squeeze".
        trunk: the file of the classifier; None: wherever the published one is found.
        heads: the file of the weights w_l; None: the one in torchmetrics.

    Raises:
        MetricError: a file is missing, not the published one, or does not fit.
    """

    def __init__(self, net: Net = "vgg", trunk: Path | None = None, heads: Path | None = None) -> None:
        super().__init__()
        if net not in TRUNKS:
            raise MetricError(f"LPIPS has the networks {', '.join(TRUNKS)}, not {net!r}")
        kind = TRUNKS[net]
        self.taps = kind.taps
        heads, trunk = heads or find_heads(net), trunk or kind.file.find()
        self.features = nn.ModuleList(kind.layers())
        # The classifier's own last layers are in the file too.
        fill(self, read_weights(trunk), trunk, ignored=("classifier.",))
        for i, weight in enumerate(_read_heads(heads, kind.channels)):
            self.register_buffer(f"weight{i}", weight)
        self.register_buffer("shift", torch.tensor(SHIFT).reshape(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).reshape(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> LPIPS:
        """Stays in evaluation mode: as a part of something that is trained it must not change."""
        return super().train(False)

    def outputs(self, x: Tensor) -> list[Tensor]:
        """(b, 1 or 3, h, w) in [0, 1] -> the tapped layers' outputs. Raises `MetricError` if nothing is left of it."""
        x = ((2 * three_channels(x) - 1) - self.get_buffer("shift")) / self.get_buffer("scale")
        kept = []
        try:
            for number, layer in enumerate(self.features):
                x = layer(x)
                if number in self.taps:
                    kept.append(x)
        except RuntimeError as error:
            if "too small" in str(error) or "greater than actual input size" in str(error):
                raise MetricError("the picture is too small for LPIPS; 64 x 64 is enough for all networks") from error
            raise
        return kept

    def forward(self, x: Tensor, truth: Tensor) -> Tensor:
        """(b, 1 or 3, h, w) in [0, 1], twice -> (b,)."""
        pairs = zip(self.outputs(x), self.outputs(truth), strict=True)
        terms = [distance(f, g, self.get_buffer(f"weight{i}")) for i, (f, g) in enumerate(pairs)]
        return torch.stack(terms).sum(0)


def find_heads(net: Net) -> Path:
    """The file of LPIPS' own weights in torchmetrics. Raises `MetricError` if torchmetrics is not there."""
    found = importlib.util.find_spec("torchmetrics")  # does not import it, which takes seconds
    for place in (found and found.submodule_search_locations) or ():
        path = Path(place) / "functional" / "image" / "lpips_models" / f"{net}.pth"
        if path.is_file():
            return path
    raise MetricError("LPIPS takes its heads from torchmetrics: pip install 'pellucid[metrics]'")


def _read_heads(path: Path, channels: Sequence[int]) -> list[Tensor]:
    weights = read_weights(path)
    names = [f"lin{i}.model.1.weight" for i in range(len(channels))]
    shapes = {name: (1, count, 1, 1) for name, count in zip(names, channels, strict=True)}
    if {name: tuple(value.shape) for name, value in weights.items()} != shapes:
        raise MetricError(
            f"{path} does not hold the heads {', '.join(names)} of {', '.join(map(str, channels))} channels"
        )
    return [weights[name].flatten().float() for name in names]


@lru_cache(maxsize=3)
def _shared(net: Net, device: torch.device) -> LPIPS:
    return LPIPS(net).to(device)


def lpips(net: Net) -> Callable[[Tensor, Tensor], Tensor]:
    """(x, truth) -> (b,) with weights that are loaded once, when it is first called."""

    def score(x: Tensor, truth: Tensor) -> Tensor:
        result: Tensor = _shared(net, x.device)(x.float(), truth.float())
        return result

    return score
