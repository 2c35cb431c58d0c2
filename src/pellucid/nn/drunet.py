"""DRUNet: a UNet of residual blocks without biases that is shown the noise level as a further channel.

Without biases it is homogeneous: D(a x, a sigma) = a D(x, sigma) for a > 0.

Reference: Zhang et al., Plug-and-Play Image Restoration with Deep Denoiser Prior, IEEE TPAMI 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.errors import ConfigError
from pellucid.prior.diffusion import pad_to_multiple

STRONGEST = 50 / 255  # the noise levels of training reach up to here, in [0, 1] units


class Residual(nn.Module):
    """x + conv(relu(conv(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.res = nn.Sequential(_conv(width, width), nn.ReLU(inplace=True), _conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.res(x)
        return out


class DRUNet(nn.Module):
    """E[x_0 | x_0 + sigma n]: pictures (b, c, h, w) in [0, 1] and sigma (b,) in the same units -> the same, any size.

    The picture is reflected at its right and lower edge to a multiple of `multiple`, and cropped back. The parameters
    have the published names.

    Args:
        channels: of the pictures.
        widths: feature channels of the four levels.
        blocks: residual blocks of each level, on the way down and on the way up.

    Raises:
        ConfigError: not four levels.
    """

    multiple = 8

    def __init__(self, channels: int = 3, widths: Sequence[int] = (64, 128, 256, 512), blocks: int = 4) -> None:
        super().__init__()
        if len(widths) != 4:
            raise ConfigError(f"DRUNet has four levels, not {len(widths)}")
        self.config: dict[str, Any] = {"channels": channels, "widths": list(widths), "blocks": blocks}
        self.m_head = _conv(channels + 1, widths[0])
        for level, (a, b) in enumerate(pairwise(widths), start=1):
            down = nn.Conv2d(a, b, 2, stride=2, bias=False)
            up = nn.ConvTranspose2d(b, a, 2, stride=2, bias=False)
            self.add_module(f"m_down{level}", nn.Sequential(*(Residual(a) for _ in range(blocks)), down))
            self.add_module(f"m_up{level}", nn.Sequential(up, *(Residual(a) for _ in range(blocks))))
        self.m_body = nn.Sequential(*(Residual(widths[-1]) for _ in range(blocks)))
        self.m_tail = _conv(widths[0], channels)

    def forward(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """The denoised picture; sigma (b,), or one number for all images."""
        height, width = x.shape[-2:]
        level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).expand(len(x)).view(-1, 1, 1, 1)
        shown = torch.cat([x, level.expand(-1, 1, height, width)], dim=1)
        return self.with_level(pad_to_multiple(shown, self.multiple))[..., :height, :width].to(x.dtype)

    def with_level(self, shown: Tensor) -> Tensor:
        """The network itself: (b, c + 1, h, w), the last channel being sigma -> (b, c, h, w); multiples of 8 only."""
        skips = [self.m_head(shown)]
        for level in (1, 2, 3):
            skips.append(self.get_submodule(f"m_down{level}")(skips[-1]))
        h = self.m_body(skips[-1])
        for level in (3, 2, 1):
            h = self.get_submodule(f"m_up{level}")(h + skips.pop())
        out: Tensor = self.m_tail(h + skips.pop())
        return out


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
