"""SwinIR: image restoration by self-attention inside windows that shift from block to block.

Written from the paper and from what its published files hold; the parameters have the published names, so every
published file loads without renaming.

Reference: Liang et al., SwinIR: Image Restoration Using Swin Transformer, ICCV Workshops 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.errors import ConfigError
from pellucid.nn.biased_attention import biased_attention
from pellucid.prior.diffusion import pad_to_multiple

Upsampler = Literal["", "pixelshuffle", "pixelshuffledirect", "nearest+conv"]
Connection = Literal["1conv", "3conv"]
RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K, subtracted from colour pictures
FEATURES = 64  # channels between the body and the picture where the picture is enlarged
MASKED = -100.0  # the published value; -inf would differ in the last bits


@lru_cache(maxsize=16)
def position_index(window: int) -> Tensor:
    """Row of the bias table for every pair of pixels of a window, (window^4,): (dy + w - 1)(2w - 1) + dx + w - 1."""
    with torch.inference_mode(False):
        y, x = (grid.flatten() for grid in torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij"))
        dy, dx = y[:, None] - y + window - 1, x[:, None] - x + window - 1
        return (dy * (2 * window - 1) + dx).flatten()


@lru_cache(maxsize=16)
def shift_mask(rows: int, columns: int, window: int, shift: int) -> Tensor:
    """What shifted windows may not see of each other, (rows columns, window^2, window^2): 0 or `MASKED`.

    A picture of rows x columns windows was rolled by `shift`; pixels that came around the edge are no neighbours of
    those that they lie beside now. Only the last row and the last column of windows hold such pixels.
    """
    with torch.inference_mode(False):
        parts = []
        for count in (rows, columns):
            part = torch.zeros(count * window, dtype=torch.int32)
            part[-window:-shift], part[-shift:] = 1, 2
            parts.append(part.view(count, window))
        region = 3 * parts[0][:, None, :, None] + parts[1][None, :, None, :]
        region = region.reshape(rows * columns, window**2)
        return (region[:, :, None] != region[:, None, :]) * torch.tensor(MASKED)


class WindowAttention(nn.Module):
    """softmax(q k^T / sqrt(d) + bias + mask) v inside every window: (n, window^2, c) -> the same."""

    def __init__(self, width: int, window: int, heads: int) -> None:
        super().__init__()
        self.window, self.heads = window, heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def bias(self) -> Tensor:
        """The bias of every pair of pixels, (heads, window^2, window^2)."""
        index = position_index(self.window).to(self.relative_position_bias_table.device)
        size = self.window**2
        return self.relative_position_bias_table[index].view(size, size, self.heads).permute(2, 0, 1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (b n, window^2, c), mask (n, window^2, window^2) or None."""
        windows, size, width = x.shape
        qkv = self.qkv(x).view(windows, size, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        bias = self.bias()[None].to(qkv.dtype)
        if mask is not None:
            # Windows join the heads, so that the mask is one for the whole batch.
            qkv = qkv.reshape(3, windows // len(mask), len(mask) * self.heads, size, width // self.heads)
            bias = (bias + mask[:, None].to(qkv.dtype)).flatten(0, 1)[None]
        q, k, v = qkv.unbind(0)
        mixed = biased_attention(q, k, v, bias)
        mixed = mixed.reshape(windows, self.heads, size, -1).transpose(1, 2).reshape(windows, size, width)
        out: Tensor = self.proj(mixed)
        return out


class Perceptron(nn.Module):
    """fc2(gelu(fc1(x)))."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """x + attention(norm1(x)), then x + mlp(norm2(x)); pixels last but one: (b, h, w, c)."""

    def __init__(self, width: int, window: int, heads: int, shift: int, hidden: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = WindowAttention(width, window, heads)
        self.mlp = Perceptron(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    def attend(self, x: Tensor) -> Tensor:
        """Rolled by the shift, cut into windows, attended to, and put back."""
        b, h, w, c = x.shape
        rows, columns, side = h // self.window, w // self.window, self.window
        mask = None
        if self.shift:
            x = x.roll((-self.shift, -self.shift), dims=(1, 2))
            mask = shift_mask(rows, columns, side, self.shift).to(x.device)
        x = x.view(b, rows, side, columns, side, c).transpose(2, 3).reshape(-1, side**2, c)
        x = self.attn(x, mask)
        x = x.view(b, rows, columns, side, side, c).transpose(2, 3).reshape(b, h, w, c)
        return x.roll((self.shift, self.shift), dims=(1, 2)) if self.shift else x


class Blocks(nn.Module):
    """Blocks one after the other, every second one shifted by half a window if `shifted`."""

    def __init__(self, width: int, depth: int, window: int, heads: int, hidden: int, shifted: bool) -> None:
        super().__init__()
        shifts = (window // 2 if shifted and i % 2 else 0 for i in range(depth))
        self.blocks = nn.ModuleList(Block(width, window, heads, shift, hidden) for shift in shifts)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class Layer(nn.Module):
    """x + conv(blocks(x)), (b, h, w, c)."""

    def __init__(
        self, width: int, depth: int, window: int, heads: int, hidden: int, shifted: bool, connection: Connection
    ) -> None:
        super().__init__()
        self.residual_group = Blocks(width, depth, window, heads, hidden, shifted)
        self.conv = connecting(width, connection)

    def forward(self, x: Tensor) -> Tensor:
        # Moving the channels is no copy: convolutions take pictures with channels last as they are.
        return x + self.conv(self.residual_group(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Normalised(nn.Module):
    """The layer norm between the first convolution and the blocks, under its published name."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(x)
        return out


def connecting(width: int, connection: Connection) -> nn.Module:
    """The convolution after blocks: one, or three through a quarter of the channels."""
    if connection == "1conv":
        return conv(width, width)
    narrow = width // 4
    lrelu = nn.LeakyReLU(0.2)
    return nn.Sequential(conv(width, narrow), lrelu, nn.Conv2d(narrow, narrow, 1), lrelu, conv(narrow, width))


def conv(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3 x 3 convolution that keeps the size."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class SwinIR(nn.Module):
    """A restored picture from a degraded one: (b, c, h, w) -> (b, c, upscale h, upscale w), both in [0, 1].

    Any size: the picture is reflected at its right and lower edge to a multiple of the window, and cropped back.
    Images of a batch do not see each other.

    Args:
        channels: of the pictures; for 3, `RGB_MEAN` is subtracted first.
        width: feature channels.
        depths: blocks in each layer.
        heads: of each layer; a number for all.
        window: side of the attention windows.
        mlp_ratio: hidden channels of the perceptrons, as a multiple of the width.
        upscale: how much larger the result is.
        upsampler: "" to correct the picture at its own size (denoising, JPEG, deblurring); "pixelshuffle" (classical);
            "pixelshuffledirect" (lightweight); "nearest+conv" (real-world, upscale 2 or 4).
        connection: "1conv", or "3conv" in the largest published one.
        image_range: what pictures are multiplied by inside: 255 in the published JPEG networks, else 1.
        shifted: whether every second block's windows are; a network that was built for pictures of one window has none.

    Raises:
        ConfigError: options that do not go together.
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 180,
        depths: Sequence[int] = (6, 6, 6, 6, 6, 6),
        heads: Sequence[int] | int = 6,
        window: int = 8,
        mlp_ratio: float = 2.0,
        upscale: int = 1,
        upsampler: Upsampler = "",
        connection: Connection = "1conv",
        image_range: float = 1.0,
        shifted: bool = True,
    ) -> None:
        super().__init__()
        every = [heads] * len(depths) if isinstance(heads, int) else list(heads)
        self.config: dict[str, Any] = {
            "channels": channels,
            "width": width,
            "depths": list(depths),
            "heads": every,
            "window": window,
            "mlp_ratio": mlp_ratio,
            "upscale": upscale,
            "upsampler": upsampler,
            "connection": connection,
            "image_range": image_range,
            "shifted": shifted,
        }
        _check(self.config)
        self.window, self.upscale, self.image_range = window, upscale, image_range
        self.upsampler: Upsampler = upsampler
        mean = RGB_MEAN if channels == 3 else (0.0,) * channels
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)

        hidden = int(width * mlp_ratio)
        self.conv_first = conv(channels, width)
        self.patch_embed = Normalised(width)
        self.layers = nn.ModuleList(
            Layer(width, depth, window, n, hidden, shifted, connection) for depth, n in zip(depths, every, strict=True)
        )
        self.norm = nn.LayerNorm(width)
        self.conv_after_body = connecting(width, connection)
        if upsampler == "pixelshuffle":
            self.conv_before_upsample = nn.Sequential(conv(width, FEATURES), nn.LeakyReLU())
            self.upsample = enlarging(upscale)
        elif upsampler == "pixelshuffledirect":
            self.upsample = nn.Sequential(conv(width, channels * upscale**2), nn.PixelShuffle(upscale))
        elif upsampler == "nearest+conv":
            self.conv_before_upsample = nn.Sequential(conv(width, FEATURES), nn.LeakyReLU())
            self.conv_up1 = conv(FEATURES, FEATURES)
            if upscale == 4:
                self.conv_up2 = conv(FEATURES, FEATURES)
            self.conv_hr = conv(FEATURES, FEATURES)
        if upsampler != "pixelshuffledirect":
            self.conv_last = conv(FEATURES if upsampler else width, channels)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, extra_window: bool = False) -> Tensor:
        """The restored picture.

        Args:
            x: (b, c, h, w) in [0, 1].
            extra_window: mirror the picture further than needed, to (h // window + 1) window with its edge repeated,
                as the authors' test script does before it calls the network; published figures were made so.
        """
        height, width = x.shape[-2:]
        if extra_window:
            x = mirrored(x, self.window)
        x = pad_to_multiple(x, self.window)
        mean = self.get_buffer("mean").to(x.dtype)
        x = (x - mean) * self.image_range
        out = self.enlarged(x).to(x.dtype) / self.image_range + mean
        return out[..., : height * self.upscale, : width * self.upscale]

    def enlarged(self, x: Tensor) -> Tensor:
        """The body and what makes a picture of its features; x is centred and a multiple of the window."""
        shallow = self.conv_first(x.contiguous(memory_format=torch.channels_last))
        features = self.conv_after_body(self.features(shallow)) + shallow
        if not self.upsampler:
            return x + self.conv_last(features)
        if self.upsampler == "pixelshuffledirect":
            direct: Tensor = self.upsample(features)
            return direct
        features = self.conv_before_upsample(features)
        if self.upsampler == "pixelshuffle":
            features = self.upsample(features)
        else:
            ups = [self.conv_up1, self.conv_up2] if self.upscale == 4 else [self.conv_up1]
            for up in ups:
                features = F.leaky_relu(up(F.interpolate(features, scale_factor=2, mode="nearest")), 0.2)
            features = F.leaky_relu(self.conv_hr(features), 0.2)
        out: Tensor = self.conv_last(features)
        return out

    def features(self, x: Tensor) -> Tensor:
        """Norm, layers, norm: (b, c, h, w) -> (b, c, h, w), channels last in memory."""
        x = self.patch_embed(x.permute(0, 2, 3, 1))
        for layer in self.layers:
            x = layer(x)
        out: Tensor = self.norm(x).permute(0, 3, 1, 2)
        return out


def enlarging(upscale: int) -> nn.Sequential:
    """Convolutions and pixel shuffles: one by 3, or one by 2 for every factor of 2."""
    factors = [3] if upscale == 3 else [2] * (upscale.bit_length() - 1)
    return nn.Sequential(*(m for f in factors for m in (conv(FEATURES, FEATURES * f**2), nn.PixelShuffle(f))))


def mirrored(x: Tensor, window: int) -> Tensor:
    """The picture continued by its mirror image, edge repeated, to (h // window + 1) window; at most twice its size."""
    for dim in (-2, -1):
        size = x.shape[dim]
        wanted = (size // window + 1) * window
        x = torch.cat([x, x.flip(dim)], dim).narrow(dim, 0, min(wanted, 2 * size))
    return x


def _check(config: dict[str, Any]) -> None:
    depths, heads, width = config["depths"], config["heads"], config["width"]
    if len(depths) != len(heads) or not depths:
        raise ConfigError(f"SwinIR has heads for each of its layers; depths are {depths}, heads {heads}")
    if bad := [n for n in heads if n < 1 or width % n]:
        raise ConfigError(f"SwinIR's width {width} is not a multiple of its heads {bad[0]}")
    upscale, upsampler = config["upscale"], config["upsampler"]
    allowed: dict[str, bool] = {
        "": upscale == 1,
        "pixelshuffle": upscale == 3 or (upscale >= 2 and math.log2(upscale).is_integer()),
        "pixelshuffledirect": upscale >= 1,
        "nearest+conv": upscale in (2, 4),
    }
    if not allowed.get(upsampler, False):
        raise ConfigError(
            f"SwinIR's upsampler {upsampler!r} does not enlarge by {upscale}: '' keeps the size, 'pixelshuffle' takes "
            "3 or powers of 2, 'pixelshuffledirect' anything, 'nearest+conv' 2 or 4"
        )
    if config["connection"] not in ("1conv", "3conv"):
        raise ConfigError(f"SwinIR's connection is '1conv' or '3conv', not {config['connection']!r}")
