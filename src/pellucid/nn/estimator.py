"""A supervised network y -> x: SwinIR, or a UNet that corrects what it is shown."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pellucid.errors import ConfigError
from pellucid.nn.unet import UNet
from pellucid.prior.diffusion import pad_to_multiple


class Corrector(nn.Module):
    """x_hat = v + F(v), pictures (b, c, h, w) in [0, 1] of any size -> the same.

    Args:
        network: F, a UNet that is told the same noise level always.
    """

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, v: Tensor) -> Tensor:
        height, width = v.shape[-2:]
        padded = pad_to_multiple(v, self.network.multiple)
        out = self.network(2 * padded - 1, torch.zeros(len(v), device=v.device))
        return v + out[..., :height, :width].to(v.dtype)


def make_estimator(network: dict[str, Any]) -> nn.Module:
    """A network from the words of a card or configuration: `class` "swinir" or "unet", `channels`, `scale`, its own.

    Raises:
        ConfigError: another class, or a UNet that should enlarge.
    """
    arguments = dict(network)
    kind, scale = arguments.pop("class"), arguments.pop("scale", 1)
    if kind == "unet":
        if scale != 1:
            raise ConfigError("a 'unet' does not enlarge; take 'swinir' for super-resolution")
        estimator: nn.Module = Corrector(UNet(**arguments))
    elif kind == "swinir":
        from pellucid.nn.swinir import SwinIR

        upsampler = "pixelshuffledirect" if scale > 1 else ""
        light = {"width": 60, "depths": (6, 6, 6, 6), "heads": 6, "upscale": scale, "upsampler": upsampler}
        estimator = SwinIR(**{**light, **arguments})
    else:
        raise ConfigError(f"an estimator's class is 'swinir' or 'unet', not {kind!r}")
    fast: nn.Module = estimator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return fast
