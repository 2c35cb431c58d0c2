"""Where an autoencoder or an enlarging network begins: as the resampling that is the least it can do.

With random weights an autoencoder of GroupNorm and SiLU needs thousands of steps before it is as good as reducing a
picture by block means and enlarging it again. Here it begins there, and its residual blocks, whose last convolutions
begin at zero, learn what is missing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

CONSTANT = 3.0  # beside the picture's channels: its size sets the scale of GroupNorm, more than the picture's contrast
VARIANCE = 0.2  # of a picture's pixels in [-1, 1], about
LOG_VARIANCE = -10.0  # of a KL autoencoder's latents


@torch.no_grad()
def begin_as_resampling(model: Any) -> None:
    """Sets the weights of a diffusers VQModel or AutoencoderKL so that it reduces by block means and enlarges linearly.

    The picture's channels are carried through the residual stream unchanged: convolutions copy them, strided ones take
    means of 2x2, those after an enlargement smooth. Before the last GroupNorm, which would take away the mean and most
    of the contrast, they run beside their negatives and a pair of constants, so that the mean is zero and the scale
    known; after it silu(x) - silu(-x) = x. Latents that are more than the picture's channels begin as random features.

    Args:
        model: with as many latent as picture channels, or more.
    """
    channels = int(model.config.in_channels)
    encoder, decoder = model.encoder, model.decoder
    for module in (encoder, decoder):
        for block in module.modules():
            if type(block).__name__ == "ResnetBlock2D":
                nn.init.zeros_(block.conv2.weight)
                nn.init.zeros_(block.conv2.bias)
                if block.conv_shortcut is not None:
                    _copy(block.conv_shortcut, channels)
            if type(block).__name__ == "Attention":
                nn.init.zeros_(block.to_out[0].weight)
                nn.init.zeros_(block.to_out[0].bias)
        _copy(module.conv_in, channels)
    for block in encoder.down_blocks:
        for down in block.downsamplers or ():
            _copy(down.conv, channels, mean_of_four)
    for block in decoder.up_blocks:
        for up in block.upsamplers or ():
            _copy(up.conv, channels, smoothing)
    _last(encoder, _stream_end(encoder.down_blocks, encoder.conv_in), channels)
    _last(decoder, _stream_end(decoder.up_blocks, decoder.conv_in), channels)
    latents = decoder.conv_in.in_channels
    for conv in (model.quant_conv, model.post_quant_conv):
        if conv is not None:
            conv.weight.copy_(torch.eye(*conv.weight.shape[:2])[:, :, None, None])
            nn.init.zeros_(conv.bias)
    if encoder.conv_out.out_channels == 2 * latents:  # the second half are log variances
        encoder.conv_out.weight[latents:] = 0
        encoder.conv_out.bias[latents:] = LOG_VARIANCE


def centre(kernel: Tensor) -> Tensor:
    """The tap in the middle."""
    taps = torch.zeros_like(kernel)
    taps[kernel.shape[0] // 2, kernel.shape[1] // 2] = 1
    return taps


def mean_of_four(kernel: Tensor) -> Tensor:
    """The mean of 2x2: diffusers pads a strided convolution at the right and below."""
    taps = torch.zeros_like(kernel)
    taps[:2, :2] = 0.25
    return taps


def smoothing(kernel: Tensor) -> Tensor:
    """[1 2 1] / 4 in both directions: after doubling every pixel, about linear interpolation."""
    line = torch.tensor([0.25, 0.5, 0.25], dtype=kernel.dtype)
    return torch.outer(line, line)


def _copy(conv: nn.Conv2d, channels: int, taps: Any = centre) -> None:
    """The first `channels` outputs become those inputs, filtered by `taps`; the others stay random."""
    conv.weight[:channels] = 0
    assert conv.bias is not None
    conv.bias[:channels] = 0
    for c in range(channels):
        conv.weight[c, c] = taps(conv.weight[c, c])


def _stream_end(blocks: Any, first: nn.Conv2d) -> nn.Conv2d:
    """The last layer that writes into the residual stream from scratch: there the constant is set."""
    end: nn.Conv2d = first
    for block in blocks:
        for resnet in block.resnets:
            end = resnet.conv_shortcut or end
        for resampler in [*(getattr(block, "downsamplers", None) or ()), *(getattr(block, "upsamplers", None) or ())]:
            end = resampler.conv
    return end


def _last(module: Any, end: nn.Conv2d, channels: int) -> None:
    """Makes norm, SiLU and last convolution pass the stream's first channels on."""
    norm, out = module.conv_norm_out, module.conv_out
    size = norm.num_channels // norm.num_groups
    used = 2 * channels + 2
    if size < used:
        raise ValueError(f"groups of {size} channels are too small, {used} are needed: take a smaller norm_num_groups")
    assert end.bias is not None
    end.weight[channels : 2 * channels] = -end.weight[:channels]
    end.bias[channels : 2 * channels] = -end.bias[:channels]
    end.weight[2 * channels : size] = 0
    end.bias[2 * channels : size] = 0
    end.bias[2 * channels], end.bias[2 * channels + 1] = CONSTANT, -CONSTANT
    std = ((2 * channels * VARIANCE + 2 * CONSTANT**2) / size) ** 0.5
    out.weight[:channels] = 0
    out.bias[:channels] = 0
    for c in range(channels):
        out.weight[c, c] = std * centre(out.weight[c, c])
        out.weight[c, channels + c] = -out.weight[c, c]


@torch.no_grad()
def begin_as_interpolation(network: Any) -> None:
    """Sets the weights of a SwinIR so that it enlarges by interpolation, or changes nothing where it does not enlarge.

    A pixel of the larger picture at distance d from the nearest given one (in its pixels, |d| < 1/2) begins as the
    parabola through three given ones, d (d - 1) / 2, 1 - d^2, d (d + 1) / 2, in both directions. The body's last
    convolution begins at zero and learns what is missing. Other upsamplers than "pixelshuffledirect" are left alone.

    Args:
        network: a `pellucid.nn.swinir.SwinIR`.
    """
    if not network.upsampler:
        nn.init.zeros_(network.conv_last.weight)
        nn.init.zeros_(network.conv_last.bias)
    if network.upsampler != "pixelshuffledirect":
        return
    channels, factor = network.config["channels"], network.upscale
    _copy(network.conv_first, channels)
    body = network.conv_after_body
    last: Any = body if isinstance(body, nn.Conv2d) else body[-1]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    enlarge = network.upsample[0]
    nn.init.zeros_(enlarge.weight)
    nn.init.zeros_(enlarge.bias)
    lines = [parabola((k + 0.5) / factor - 0.5) for k in range(factor)]
    for c in range(channels):
        for i, down in enumerate(lines):
            for j, right in enumerate(lines):
                enlarge.weight[c * factor**2 + i * factor + j, c] = torch.outer(down, right)


def parabola(d: float) -> Tensor:
    """Weights of three neighbours for the value at distance d from the middle one, exact for parabolas."""
    return torch.tensor([d * (d - 1) / 2, 1 - d**2, d * (d + 1) / 2])
