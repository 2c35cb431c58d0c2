"""A blind residual denoiser: it is not told how strong the noise is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pellucid.errors import ConfigError
from pellucid.nn.unet import UNet
from pellucid.prior.diffusion import pad_to_multiple


class BlindDenoiser(nn.Module):
    """D(x) = x - F(x), pictures (b, c, h, w) in [0, 1] of any size -> the same.

    Args:
        network: F, a UNet that is told the same noise level always.
    """

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        padded = pad_to_multiple(x, self.network.multiple)
        residual = self.network(2 * padded - 1, torch.zeros(len(x), device=x.device))
        return x - residual[..., :height, :width].to(x.dtype)


def make_denoiser(network: dict[str, Any]) -> nn.Module:
    """A denoiser from the words of a card or configuration: `class` "unet" (the default) or "dncnn".

    Raises:
        ConfigError: another class.
    """
    arguments = dict(network)
    kind = arguments.pop("class", "unet")
    if kind == "unet":
        denoiser: nn.Module = BlindDenoiser(UNet(**arguments))
    elif kind == "dncnn":
        from pellucid.nn.dncnn import DnCNN

        denoiser = DnCNN(**arguments)
    else:
        raise ConfigError(f"a denoiser's class is 'unet' or 'dncnn', not {kind!r}")
    fast: nn.Module = denoiser.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return fast
