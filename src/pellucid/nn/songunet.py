"""The network of Dirac's checkpoints: a UNet told the noise level, with a pyramid of the picture beside its encoder.

Written from its behaviour; the parameters and buffers have the published names.

References: Song et al., Score-Based Generative Modeling through SDEs, ICLR 2021 (NCSN++); Karras et al., Elucidating
the Design Space of Diffusion-Based Generative Models, NeurIPS 2022; Fabian, Tinaz and Soltanolkotabi, DiracDiffusion,
ICML 2024.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.errors import ConfigError

HALF = math.sqrt(0.5)  # keeps the variance of a sum of two branches


class FourierEmbedding(nn.Module):
    """[sin(2 pi f c), cos(2 pi f c)]: (b,) -> (b, 2 n) with n stored random frequencies f."""

    def __init__(self, features: int, scale: float = 16.0) -> None:
        super().__init__()
        self.register_buffer("freqs", torch.randn(features // 2) * scale)

    def forward(self, c: Tensor) -> Tensor:
        angle = c[:, None] * (2 * math.pi * self.get_buffer("freqs"))
        return torch.cat([angle.sin(), angle.cos()], dim=1)


class ResampledConv(nn.Module):
    """A convolution, before or after it a low-pass filter that halves or doubles the size.

    Args:
        inputs, outputs: channels.
        kernel: side of the convolution, odd.
        resample: "", "up" or "down" by 2.
        taps: of the separable filter.
        fused: for "down", the convolution first and the filter, which then also strides, second.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        resample: str = "",
        taps: Sequence[float] = (1, 3, 3, 1),
        fused: bool = False,
    ) -> None:
        super().__init__()
        self.resample, self.fused, self.padding = resample, fused, kernel // 2
        model = nn.Conv2d(inputs, outputs, kernel)
        self.weight, self.bias = model.weight, model.bias
        if resample:
            f = torch.tensor(taps, dtype=torch.float32)
            self.register_buffer("resample_filter", (f[:, None] * f / f.sum() ** 2)[None, None])

    def forward(self, x: Tensor) -> Tensor:
        if not self.resample:
            return F.conv2d(x, self.weight, self.bias, padding=self.padding)
        kernel = self.get_buffer("resample_filter").to(x.dtype)
        edge = (kernel.shape[-1] - 1) // 2
        if self.fused:
            # The convolution reaches over the edge as far as the filter will need.
            x = F.conv2d(x, self.weight, self.bias, padding=self.padding + edge)
            # Its bias passes the filter unchanged: the taps add up to 1 and the filter does not pad.
            return F.conv2d(x, self._per_channel(kernel, x), stride=2, groups=x.shape[1])
        if self.resample == "up":
            x = F.conv_transpose2d(x, self._per_channel(4 * kernel, x), stride=2, padding=edge, groups=x.shape[1])
        else:
            x = F.conv2d(x, self._per_channel(kernel, x), stride=2, padding=edge, groups=x.shape[1])
        return F.conv2d(x, self.weight, self.bias, padding=self.padding)

    @staticmethod
    def _per_channel(kernel: Tensor, x: Tensor) -> Tensor:
        return kernel.to(x.dtype).expand(x.shape[1], -1, -1, -1)


class SongBlock(nn.Module):
    """A residual block told the noise level, then attention over all positions where there is one.

        h = conv1(silu(norm1(conv0(silu(norm0(x))) + affine(e)))),  x <- (skip(x) + h) / sqrt 2
        x <- (x + proj(softmax(q^T k / sqrt c) v)) / sqrt 2

    Args:
        inputs, outputs: channels.
        embedding: width of e.
        resample: "", "up" or "down" by 2, in conv0 and in skip.
        attention: whether there is one.
        dropout: before conv1, in training.
        taps: of the resampling filter.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        embedding: int,
        resample: str = "",
        attention: bool = False,
        dropout: float = 0.0,
        taps: Sequence[float] = (1, 3, 3, 1),
    ) -> None:
        super().__init__()
        self.norm0 = _norm(inputs)
        self.conv0 = ResampledConv(inputs, outputs, 3, resample, taps)
        self.affine = nn.Linear(embedding, outputs)
        self.norm1 = _norm(outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv1 = ResampledConv(outputs, outputs, 3)
        self.skip = ResampledConv(inputs, outputs, 1, resample, taps) if inputs != outputs or resample else None
        self.attention = attention
        if attention:
            self.norm2 = _norm(outputs)
            self.qkv = ResampledConv(outputs, 3 * outputs, 1)
            self.proj = ResampledConv(outputs, outputs, 1)
            _begin_small(self.proj)
        _begin_small(self.conv1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv0(F.silu(self.norm0(x)))
        h = h + self.affine(embedding)[:, :, None, None].to(h.dtype)
        h = self.conv1(self.dropout(F.silu(self.norm1(h))))
        x = ((x if self.skip is None else self.skip(x)) + h) * HALF
        if not self.attention:
            return x
        b, c, height, width = x.shape
        # Row 3 i + j of the qkv convolution is channel i of q, k, v for j = 0, 1, 2.
        qkv = self.qkv(self.norm2(x)).view(b, c, 3, height * width)
        q, k, v = (part.transpose(1, 2).contiguous()[:, None] for part in qkv.unbind(2))
        mixed = F.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2).reshape(b, c, height, width)
        return (x + self.proj(mixed)) * HALF


class SongUNet(nn.Module):
    """F(y, c): (b, c, h, w) in [0, 1] and the noise's standard deviation (b,) in the same units -> (b, c, h, w).

    The residual that Dirac adds to its input: E[x_0 | y] = y + F(y, c), `restored`. The sides are multiples of
    `multiple`. The noise level enters as it is, not as its logarithm.

    Args:
        resolution: side of the pictures of training; it names the levels ("enc.256x256_conv") and says where the
            attention is; other sizes can be given.
        channels: of the pictures.
        width: feature channels, times `multiples` on each level.
        multiples: one per level; each halves the size.
        blocks: residual blocks per level on the way down; one more on the way up.
        attention: sizes at which blocks have attention: all on the way down, the last one on the way up.
        embedding: width of the noise embedding, as a multiple of `width`.
        frequencies: Fourier features, as a multiple of `width`.
        dropout: in training.
        taps: of the resampling filter.

    Raises:
        ConfigError: the resolution cannot be halved that often.
    """

    def __init__(
        self,
        resolution: int = 256,
        channels: int = 3,
        width: int = 128,
        multiples: Sequence[int] = (1, 1, 2, 2, 2, 2, 2),
        blocks: int = 2,
        attention: Sequence[int] = (16,),
        embedding: int = 4,
        frequencies: int = 2,
        dropout: float = 0.1,
        taps: Sequence[float] = (1, 3, 3, 1),
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "resolution": resolution,
            "channels": channels,
            "width": width,
            "multiples": list(multiples),
            "blocks": blocks,
            "attention": list(attention),
            "embedding": embedding,
            "frequencies": frequencies,
            "dropout": dropout,
            "taps": list(taps),
        }
        self.multiple = 2 ** (len(multiples) - 1)
        if resolution < self.multiple:
            raise ConfigError(f"a resolution of {resolution} cannot be halved {len(multiples) - 1} times")
        emb = width * embedding
        self.map_noise = FourierEmbedding(width * frequencies)
        self.map_layer0 = nn.Linear(width * frequencies, emb)
        self.map_layer1 = nn.Linear(emb, emb)

        def block(inputs: int, outputs: int, resample: str = "", attends: bool = False) -> SongBlock:
            return SongBlock(inputs, outputs, emb, resample, attends, dropout, taps)

        self.enc = nn.ModuleDict()
        count, picture = channels, channels
        skips = []
        for level, multiple in enumerate(multiples):
            size = resolution >> level
            name = f"{size}x{size}"
            if level == 0:
                self.enc[f"{name}_conv"] = ResampledConv(count, width, 3)
                count = width
            else:
                self.enc[f"{name}_down"] = block(count, count, "down")
                self.enc[f"{name}_aux_residual"] = ResampledConv(picture, count, 3, "down", taps, fused=True)
                picture = count
            skips.append(count)
            for index in range(blocks):
                self.enc[f"{name}_block{index}"] = block(count, width * multiple, attends=size in attention)
                count = width * multiple
                skips.append(count)
        self.dec = nn.ModuleDict()
        for level, multiple in reversed(list(enumerate(multiples))):
            size = resolution >> level
            name = f"{size}x{size}"
            if level == len(multiples) - 1:
                self.dec[f"{name}_in0"] = block(count, count, attends=True)
                self.dec[f"{name}_in1"] = block(count, count)
            else:
                self.dec[f"{name}_up"] = block(count, count, "up")
            for index in range(blocks + 1):
                attends = index == blocks and size in attention
                self.dec[f"{name}_block{index}"] = block(count + skips.pop(), width * multiple, attends=attends)
                count = width * multiple
        self.dec[f"{resolution}x{resolution}_aux_norm"] = _norm(count)
        self.dec[f"{resolution}x{resolution}_aux_conv"] = last = ResampledConv(count, channels, 3)
        _begin_small(last)

    def restored(self, y: Tensor, noise_std: Tensor) -> Tensor:
        """Dirac's E[x_0 | y] = y + F(y, noise_std)."""
        return y + self(y, noise_std)

    def forward(self, x: Tensor, noise_std: Tensor) -> Tensor:
        """F. noise_std (b,), or one number for all images."""
        level = torch.as_tensor(noise_std, dtype=torch.float32, device=x.device).expand(len(x))
        features = self.map_noise(level)
        embedding = F.silu(self.map_layer1(F.silu(self.map_layer0(features))))
        skips: list[Tensor] = []
        picture = h = x
        for name, part in self.enc.items():
            if name.endswith("aux_residual"):
                picture = h = skips[-1] = (h + part(picture)) * HALF
                continue
            h = part(h, embedding) if isinstance(part, SongBlock) else part(h)
            skips.append(h)
        for name, part in self.dec.items():
            if isinstance(part, SongBlock):
                if "_block" in name:
                    h = torch.cat([h, skips.pop()], dim=1)
                h = part(h, embedding)
            else:
                h = F.silu(part(h)) if name.endswith("aux_norm") else part(h)
        return h.to(x.dtype)


def _begin_small(conv: ResampledConv) -> None:
    """Branches begin near zero, so that training begins near the identity."""
    with torch.no_grad():
        conv.weight.mul_(1e-5)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(min(32, channels // 4), channels, eps=1e-6)
