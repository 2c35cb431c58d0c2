"""A small UNet behind a pixel-unshuffle stem, preconditioned as a denoiser.

The network is the project's own because no library has one that is this cheap on a CPU: the stem moves a
2x2 block of pixels into channels, so that no convolution runs at full resolution; there is no normalisation
layer (they cost as much as a convolution on a CPU); and noise enters as a per-channel scale and shift.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class NoiseEmbedding(nn.Module):
    """Sinusoidal features of c_noise = ln(sigma) / 4, then a two-layer perceptron: (b,) -> (b, dim)."""

    def __init__(self, dim: int, features: int = 64) -> None:
        super().__init__()
        frequencies = torch.exp(torch.linspace(math.log(0.5), math.log(16.0), features // 2))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.mlp = nn.Sequential(nn.Linear(features, dim), nn.SiLU(), nn.Linear(dim, dim), nn.SiLU())

    def forward(self, c_noise: Tensor) -> Tensor:
        angle = c_noise[:, None] * self.get_buffer("frequencies").to(c_noise.dtype)
        out: Tensor = self.mlp(torch.cat([angle.cos(), angle.sin()], dim=1))
        return out


class ResidualBlock(nn.Module):
    """x + conv(silu((1 + scale) conv(silu(x)) + shift)), the scale and shift from the noise level."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.film = nn.Linear(embedding, 2 * width)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)
        with torch.no_grad():
            self.conv2.weight.mul_(0.1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.film(embedding)[:, :, None, None].chunk(2, dim=1)
        h = self.conv1(F.silu(x))
        h = torch.addcmul(shift.to(h.dtype), h, 1 + scale.to(h.dtype))
        out: Tensor = x + self.conv2(F.silu(h))
        return out


class Attention(nn.Module):
    """Self-attention over all positions of a coarse feature map, added to its input.

    Attributes:
        tap: sees the attention maps (b, heads, n, n) and may return others; None for the fast path without maps.
    """

    tap: Callable[[Tensor], Tensor] | None = None

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(1, width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = nn.Conv2d(width, width, 1)
        with torch.no_grad():
            self.out.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        qkv = self.qkv(self.norm(x)).reshape(b, 3, self.heads, c // self.heads, h * w)
        q, k, v = (part.transpose(-1, -2).contiguous() for part in qkv.unbind(1))
        if self.tap is None:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            mixed = self.tap(torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, dim=-1)).to(v.dtype) @ v
        out: Tensor = x + self.out(mixed.transpose(-1, -2).reshape(b, c, h, w))
        return out


class Level(nn.ModuleList):
    """Residual blocks of one resolution, one after the other."""

    def __init__(self, width: int, count: int, embedding: int) -> None:
        super().__init__(ResidualBlock(width, embedding) for _ in range(count))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        for block in self:
            x = block(x, embedding)
        return x


class UNet(nn.Module):
    """The raw network F of the preconditioned denoiser: (b, c, h, w), (b,) -> (b, outputs, h, w).

    Args:
        channels: colour channels of the picture.
        widths: feature channels per level; level i works at 1 / (unshuffle 2^i) of the resolution.
        blocks: residual blocks per level, on the way down and again on the way up (the last level: once).
        unshuffle: side of the pixel block that the stem moves into channels.
        heads: heads of the attention at the coarsest level, 0 for none.
        embedding: width of the noise embedding.
        outputs: channels of the result; None for as many as the picture has.
    """

    def __init__(
        self,
        channels: int = 3,
        widths: Sequence[int] = (64, 128, 192, 256),
        blocks: Sequence[int] = (2, 2, 2, 2),
        unshuffle: int = 2,
        heads: int = 4,
        embedding: int = 256,
        outputs: int | None = None,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "channels": channels,
            "widths": list(widths),
            "blocks": list(blocks),
            "unshuffle": unshuffle,
            "heads": heads,
            "embedding": embedding,
            **({} if outputs is None else {"outputs": outputs}),
        }
        self.multiple = unshuffle * 2 ** (len(widths) - 1)
        self.unshuffle = unshuffle
        self.embed = NoiseEmbedding(embedding)
        self.stem = nn.Conv2d(channels * unshuffle**2, widths[0], 3, padding=1)
        self.head = nn.Conv2d(widths[0], (outputs or channels) * unshuffle**2, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairs)
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in pairs)

        self.encoder = nn.ModuleList(Level(w, n, embedding) for w, n in zip(widths[:-1], blocks[:-1], strict=True))
        self.decoder = nn.ModuleList(Level(w, n, embedding) for w, n in zip(widths[:-1], blocks[:-1], strict=True))
        self.middle = Level(widths[-1], blocks[-1], embedding)
        self.attention = Attention(widths[-1], heads) if heads else None

    def forward(self, x: Tensor, c_noise: Tensor) -> Tensor:
        embedding = self.embed(c_noise)
        h = self.stem(F.pixel_unshuffle(x, self.unshuffle))
        skips = []
        for level, down in zip(self.encoder, self.down, strict=True):
            h = level(h, embedding)
            skips.append(h)
            h = down(h)
        for index, block in enumerate(self.middle):
            h = block(h, embedding)
            if index == 0 and self.attention is not None:
                h = self.attention(h)
        for level, up, skip in zip(self.decoder[::-1], self.up[::-1], skips[::-1], strict=True):
            h = level(up(h) + skip, embedding)
        return F.pixel_shuffle(self.head(h), self.unshuffle)
