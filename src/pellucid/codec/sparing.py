"""A decoder whose gradient needs little memory: what a convolution is fed is computed again, a part at a time.

A convolution g = conv(f(x)) is computed in strips of rows, of which f(x), normalised and bent, needs no more at a time.
Its gradient is computed in slices of channels, since group normalisation knows only its own group:

    d/dx_c = f_c'(x_c)^T conv_c^T d/dg          for every slice c.

Kept is the input of every residual block, and nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input
from torch.utils.checkpoint import checkpoint as checkpointed

PART = 8 * 2**20
"""Bytes that a part of what a convolution is fed may take; a row, or a group of channels, at least."""


class Feed(ABC):
    """What is done to x (b, c, h, w) before a convolution.

    Attributes:
        scale: the sides of what comes out, over those of x.
        width: channels that belong together.
    """

    scale: int = 1
    width: int = 1

    @abstractmethod
    def rows(self, x: Tensor, known: Tensor | None, at: slice) -> Tensor:
        """The rows `at` of f(x), given what `knowledge` found."""

    @abstractmethod
    def channels(self, x: Tensor, at: slice) -> Tensor:
        """f of a slice of the channels, differentiable; x holds the slice alone."""

    def knowledge(self, x: Tensor) -> Tensor | None:
        """What `rows` has to know of all of x."""
        return None


@dataclass(frozen=True)
class Same(Feed):
    """x itself."""

    def rows(self, x: Tensor, known: Tensor | None, at: slice) -> Tensor:
        return x[:, :, at]

    def channels(self, x: Tensor, at: slice) -> Tensor:
        return x


@dataclass(frozen=True)
class Doubled(Feed):
    """Every pixel four times."""

    scale = 2

    def rows(self, x: Tensor, known: Tensor | None, at: slice) -> Tensor:
        first = at.start // 2
        grown = functional.interpolate(x[:, :, first : (at.stop + 1) // 2], scale_factor=2.0, mode="nearest")
        return grown[:, :, at.start - 2 * first : at.stop - 2 * first]

    def channels(self, x: Tensor, at: slice) -> Tensor:
        return functional.interpolate(x, scale_factor=2.0, mode="nearest")


@dataclass(frozen=True)
class Bent(Feed):
    """silu of a group normalisation.

    Attributes:
        norm: which.
    """

    norm: nn.GroupNorm

    @property
    def width(self) -> int:  # type: ignore[override]
        """Channels of a group."""
        return self.norm.num_channels // self.norm.num_groups

    def knowledge(self, x: Tensor) -> Tensor:
        """(2, b, c, 1, 1): factor and shift of every channel."""
        grouped = x.reshape(len(x), self.norm.num_groups, -1)
        found = [torch.var_mean(_wide(group), 1, correction=0) for group in grouped.unbind(1)]
        variance, mean = (torch.stack(values, 1) for values in zip(*found, strict=True))
        factor = (variance + self.norm.eps).rsqrt().repeat_interleave(self.width, 1)
        mean = mean.repeat_interleave(self.width, 1)
        if self.norm.affine:
            factor = factor * self.norm.weight
        shift = -mean * factor
        if self.norm.affine:
            shift = shift + self.norm.bias
        return torch.stack([factor, shift])[..., None, None]

    def rows(self, x: Tensor, known: Tensor | None, at: slice) -> Tensor:
        assert known is not None
        return functional.silu(x[:, :, at] * known[0] + known[1], inplace=True)

    def channels(self, x: Tensor, at: slice) -> Tensor:
        norm = self.norm
        weight, bias = (p[at].to(x.dtype) for p in (norm.weight, norm.bias)) if norm.affine else (None, None)
        return functional.silu(functional.group_norm(x, x.shape[1] // self.width, weight, bias, norm.eps))


def sparable(decoder: nn.Module) -> bool:
    """Whether `decode` knows all parts of a decoder: diffusers' Decoder of plain residual blocks, frozen."""
    if type(decoder).__name__ != "Decoder" or any(p.requires_grad for p in decoder.parameters()) or decoder.training:
        return False
    blocks: Any = [decoder.mid_block, *decoder.up_blocks]  # type: ignore[misc]
    kinds = {type(block).__name__ for block in blocks}
    resnets = [resnet for block in blocks for resnet in block.resnets]
    plain = all(type(r).__name__ == "ResnetBlock2D" and r.upsample is r.downsample is None for r in resnets)
    norms = all(isinstance(r.norm1, nn.GroupNorm) and isinstance(r.nonlinearity, nn.SiLU) for r in resnets)
    steps = [u for block in blocks[1:] for u in block.upsamplers or ()]
    growing = all(u.use_conv and not u.use_conv_transpose and u.norm is None and u.interpolate for u in steps)
    return (
        kinds <= {"UNetMidBlock2D", "UpDecoderBlock2D"}
        and plain
        and norms
        and growing
        and isinstance(decoder.conv_norm_out, nn.GroupNorm)
        and isinstance(decoder.conv_act, nn.SiLU)
    )


def decode(decoder: Any, h: Tensor) -> Tensor:
    """What `decoder(h)` is, to rounding: (b, latent channels, h', w') -> (b, channels, factor h', factor w').

    Differentiable once, in h alone.

    Args:
        decoder: one that is `sparable`.
        h: latents.
    """
    h = decoder.conv_in(h)
    middle = decoder.mid_block
    h = _residual(middle.resnets[0], h)
    for attention, resnet in zip(middle.attentions, middle.resnets[1:], strict=True):
        if attention is not None:
            h = checkpointed(attention, h, use_reentrant=False) if _differentiated(h) else attention(h)
        h = _residual(resnet, h)
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            h = _residual(resnet, h)
        for step in block.upsamplers or ():
            h = fed(h, Doubled(), step.conv)
    return fed(h, Bent(decoder.conv_norm_out), decoder.conv_out)


def _residual(resnet: Any, x: Tensor) -> Tensor:
    """A residual block of which only the input is kept."""
    feeds, convs = (Bent(resnet.norm1), Bent(resnet.norm2)), (resnet.conv1, resnet.conv2)
    h: Tensor = _Chain.apply(x, feeds, convs)  # type: ignore[no-untyped-call]
    if resnet.conv_shortcut is not None:
        x = fed(x, Same(), resnet.conv_shortcut)
    return (x + h) / resnet.output_scale_factor if resnet.output_scale_factor != 1 else x + h


def _differentiated(x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad


def fed(x: Tensor, feed: Feed, conv: nn.Conv2d) -> Tensor:
    """conv(f(x)), part by part; x alone is kept for the gradient.

    Args:
        x: (b, c, h, w).
        feed: f.
        conv: of stride 1 that keeps the sides, without groups, its parameters frozen.
    """
    out: Tensor = _Chain.apply(x, (feed,), (conv,))  # type: ignore[no-untyped-call]
    return out


class _Chain(torch.autograd.Function):
    """conv_n(f_n(... conv_1(f_1(x)))): only x is kept. Under autocast convolutions are in its dtype, f in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, feeds: Sequence[Feed], convs: Sequence[nn.Conv2d]) -> Tensor:
        kind = x.device.type
        ctx.save_for_backward(x)
        ctx.feeds, ctx.convs = feeds, convs
        ctx.dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else convs[0].weight.dtype
        with torch.autocast(kind, enabled=False):
            for feed, conv in zip(feeds, convs, strict=True):
                x = _convolved(x, feed, conv, ctx.dtype)
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (x,), gradient = ctx.saved_tensors, gradients[0].to(ctx.dtype)
        with torch.autocast(x.device.type, enabled=False):
            inputs = [x]
            for feed, conv in zip(ctx.feeds[:-1], ctx.convs[:-1], strict=True):
                inputs.append(_convolved(inputs[-1], feed, conv, ctx.dtype))
            for feed, conv in zip(reversed(ctx.feeds), reversed(ctx.convs), strict=True):
                gradient = _gradient(inputs.pop(), feed, conv, gradient)
        return gradient, None, None


def _convolved(x: Tensor, feed: Feed, conv: nn.Conv2d, dtype: torch.dtype) -> Tensor:
    """conv(f(x)) in `dtype`, in strips of rows."""
    height, width = (side * feed.scale for side in x.shape[-2:])
    out = x.new_empty((len(x), conv.out_channels, height, width), dtype=dtype)
    beyond, row = conv.kernel_size[0] // 2, len(x) * x.shape[1] * width * max(x.element_size(), 4)
    weight, bias = conv.weight.to(dtype), None if conv.bias is None else conv.bias.to(dtype)
    known = feed.knowledge(x)
    for first, last in _parts(height, PART // row):
        start, stop = max(first - beyond, 0), min(last + beyond, height)
        part = feed.rows(x, known, slice(start, stop)).to(dtype)
        edges = (beyond, beyond, start - first + beyond, last + beyond - stop)
        out[:, :, first:last] = functional.conv2d(functional.pad(part, edges), weight, bias)
    return out


def _gradient(x: Tensor, feed: Feed, conv: nn.Conv2d, gradient: Tensor) -> Tensor:
    """(d conv(f(x)) / dx)^T gradient, in slices of channels."""
    result = torch.empty_like(x)
    each = x[:, :1].numel() * max(x.element_size(), 4) * feed.scale**2 * feed.width
    for first, last in _parts(x.shape[1] // feed.width, PART // each):
        at = slice(first * feed.width, last * feed.width)
        with torch.enable_grad():
            part = _wide(x[:, at]).detach().requires_grad_()
            given = feed.channels(part, at)
        weight = conv.weight[:, at].to(gradient.dtype)
        back = conv2d_input(list(given.shape), weight, gradient, 1, conv.padding)
        result[:, at] = torch.autograd.grad(given, part, back.to(given.dtype))[0]
    return result


def _parts(count: int, size: int) -> list[tuple[int, int]]:
    """[first, last) of parts of `size` (1 at least) that make up `count`."""
    size = max(size, 1)
    return [(first, min(first + size, count)) for first in range(0, count, size)]


def _wide(x: Tensor) -> Tensor:
    """In float32 at least."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
