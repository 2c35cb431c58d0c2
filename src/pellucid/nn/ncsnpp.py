"""NCSN++ with a residual pyramid of the picture beside its encoder, which no library's blocks can express.

Written from the paper and from what recorded files hold; the parameters have the published names `all_modules.N`, N
counting the parts in the order in which they run.

Reference: Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, ICLR 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.nn.songunet import HALF

TAPS = (1.0, 3.0, 3.0, 1.0)


def filtered(x: Tensor, direction: str) -> Tensor:
    """Halved ("down") or doubled ("up") behind the separable low-pass filter of `TAPS`: (b, c, h, w)."""
    taps = torch.tensor(TAPS, dtype=x.dtype, device=x.device) / sum(TAPS)
    kernel = (taps[:, None] * taps).expand(x.shape[1], 1, -1, -1)
    if direction == "up":
        return F.conv_transpose2d(x, 4 * kernel, stride=2, padding=1, groups=x.shape[1])
    return F.conv2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


class Fourier(nn.Module):
    """[sin(2 pi W v), cos(2 pi W v)]: (b,) -> (b, 2 n)."""

    def __init__(self, features: int, scale: float = 16.0) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.randn(features) * scale, requires_grad=False)

    def forward(self, v: Tensor) -> Tensor:
        angle = v[:, None] * self.W * (2 * math.pi)
        return torch.cat([angle.sin(), angle.cos()], dim=1)


class Resnet(nn.Module):
    """(skip(x) + conv1(silu(norm1(conv0(silu(norm0(x))) + dense(silu(e)))))) / sqrt 2, resampled in both branches.

    Args:
        inputs, outputs: channels.
        embedding: width of e.
        direction: "", "up" or "down" by 2.
    """

    def __init__(self, inputs: int, outputs: int, embedding: int, direction: str = "") -> None:
        super().__init__()
        self.direction = direction
        self.GroupNorm_0 = _norm(inputs)
        self.Conv_0 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.Dense_0 = nn.Linear(embedding, outputs)
        self.GroupNorm_1 = _norm(outputs)
        self.Conv_1 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.Conv_2 = nn.Conv2d(inputs, outputs, 1) if inputs != outputs or direction else None

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = F.silu(self.GroupNorm_0(x))
        if self.direction:
            h, x = filtered(h, self.direction), filtered(x, self.direction)
        h = self.Conv_0(h) + self.Dense_0(F.silu(embedding))[:, :, None, None]
        h = self.Conv_1(F.silu(self.GroupNorm_1(h)))
        return ((x if self.Conv_2 is None else self.Conv_2(x)) + h) * HALF


class Matrix(nn.Module):
    """y = x W + b over the last dimension."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.randn(width, width) * width**-0.5)
        self.b = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.W + self.b


class Attention(nn.Module):
    """(x + out(softmax(q k^T / sqrt c) v)) / sqrt 2 over all positions, one head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.GroupNorm_0 = _norm(width)
        self.NIN_0, self.NIN_1, self.NIN_2, self.NIN_3 = (Matrix(width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.GroupNorm_0(x).flatten(2).transpose(1, 2)[:, None]
        mixed = F.scaled_dot_product_attention(self.NIN_0(tokens), self.NIN_1(tokens), self.NIN_2(tokens))
        return (x + self.NIN_3(mixed)[:, 0].transpose(1, 2).view(x.shape)) * HALF


class Shrink(nn.Module):
    """The low-pass filter, then a convolution that takes every second place."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.Conv2d_0 = nn.Conv2d(inputs, outputs, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        taps = torch.tensor(TAPS, dtype=x.dtype, device=x.device) / sum(TAPS)
        kernel = (taps[:, None] * taps).expand(x.shape[1], 1, -1, -1)
        out: Tensor = self.Conv2d_0(F.conv2d(x, kernel, padding=2, groups=x.shape[1]))
        return out


class ResidualNCSNpp(nn.Module):
    """The score of x = x_0 + sigma n: pictures (b, c, h, w) in [0, 1] and sigma (b,) in their units -> (b, c, h, w).

    The sides are multiples of `multiple`.

    Args:
        channels: of the pictures.
        width: feature channels, times `multiples` on each level.
        multiples: one per level; each but the last halves the size.
        blocks: residual blocks per level on the way down; one more on the way up.
        attention: for each level, whether it attends: after every block on the way down, once on the way up.
        centered: whether pictures come in [-1, 1]; else the network maps [0, 1] there itself.
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 128,
        multiples: Sequence[int] = (1, 1, 2, 2, 2, 2, 2),
        blocks: int = 2,
        attention: Sequence[bool] = (False, False, False, False, True, False, False),
        centered: bool = False,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "channels": channels,
            "width": width,
            "multiples": list(multiples),
            "blocks": blocks,
            "attention": list(attention),
            "centered": centered,
        }
        self.centered, self.multiple = centered, 2 ** (len(multiples) - 1)
        emb = 4 * width
        parts: list[nn.Module] = [Fourier(width), nn.Linear(2 * width, emb), nn.Linear(emb, emb)]
        parts.append(nn.Conv2d(channels, width, 3, padding=1))
        count, picture, skips = width, channels, [width]
        levels = list(zip(multiples, attention, strict=True))
        for level, (multiple, attends) in enumerate(levels):
            for _ in range(blocks):
                parts.append(Resnet(count, width * multiple, emb))
                count = width * multiple
                parts += [Attention(count)] if attends else []
                skips.append(count)
            if level < len(levels) - 1:
                parts += [Resnet(count, count, emb, "down"), Shrink(picture, count)]
                picture = count
                skips.append(count)
        parts += [Resnet(count, count, emb), Attention(count), Resnet(count, count, emb)]
        for level, (multiple, attends) in reversed(list(enumerate(levels))):
            for _ in range(blocks + 1):
                parts.append(Resnet(count + skips.pop(), width * multiple, emb))
                count = width * multiple
            parts += [Attention(count)] if attends else []
            parts += [Resnet(count, count, emb, "up")] if level else []
        parts += [_norm(count), nn.Conv2d(count, channels, 3, padding=1)]
        self.all_modules = nn.ModuleList(parts)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The score, the network's answer divided by sigma."""
        fourier, first, second, enter, *parts, norm, leave = self.all_modules
        embedding = second(F.silu(first(fourier(torch.log(sigma.to(x.dtype))))))
        picture = x if self.centered else 2 * x - 1
        h = enter(picture)
        skips = [h]
        place = iter(parts)
        for level, attends in enumerate(self.config["attention"]):
            for _ in range(self.config["blocks"]):
                h = next(place)(h, embedding)
                h = next(place)(h) if attends else h
                skips.append(h)
            if level < len(self.config["attention"]) - 1:
                h = next(place)(h, embedding)
                picture = h = (next(place)(picture) + h) * HALF
                skips.append(h)
        h = next(place)(h, embedding)
        h = next(place)(h)
        h = next(place)(h, embedding)
        for level, attends in reversed(list(enumerate(self.config["attention"]))):
            for _ in range(self.config["blocks"] + 1):
                h = next(place)(torch.cat([h, skips.pop()], dim=1), embedding)
            h = next(place)(h) if attends else h
            h = next(place)(h, embedding) if level else h
        out: Tensor = leave(F.silu(norm(h)))
        return out / sigma.to(out.dtype)[:, None, None, None]


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(min(channels // 4, 32), channels, eps=1e-6)
