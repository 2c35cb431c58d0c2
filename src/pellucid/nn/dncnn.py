"""DnCNN: convolutions that find the noise, with the batch normalisation already merged into them.

Reference: Zhang et al., Beyond a Gaussian Denoiser, IEEE Transactions on Image Processing 2017.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.errors import ConfigError


class DnCNN(nn.Module):
    """x_hat = x - F(x), pictures (b, c, h, w) in [0, 1] of any size -> the same; it is not told the noise level.

    The parameters have the published names (`model.0.weight`, `model.2.weight`, ...).

    Args:
        channels: of the pictures.
        width: feature channels.
        depth: convolutions; published: 17 for one noise level, 20 for all up to 55/255.

    Raises:
        ConfigError: fewer than two convolutions.
    """

    def __init__(self, channels: int = 3, width: int = 64, depth: int = 17) -> None:
        super().__init__()
        if depth < 2:
            raise ConfigError(f"DnCNN has at least 2 convolutions, not {depth}")
        self.config: dict[str, Any] = {"channels": channels, "width": width, "depth": depth}
        sides = [channels, *[width] * (depth - 1), channels]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sides):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
        self.model = nn.Sequential(*layers[:-1])
        for layer in self.model:
            if isinstance(layer, nn.Conv2d):
                # Without batch normalisation the variance has to survive some twenty layers by itself.
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            last: Any = self.model[-1]
            last.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        noise: Tensor = self.model(x)
        return x - noise.to(x.dtype)
