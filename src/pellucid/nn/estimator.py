"""A supervised network y -> x: SwinIR, or a UNet that corrects what it is shown."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pellucid.errors import ConfigError
from pellucid.nn.corrector import Corrector
from pellucid.nn.unet import UNet


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
