"""A blind residual denoiser: it is not told how strong the noise is."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pellucid.errors import ConfigError
from pellucid.nn.corrector import Corrector
from pellucid.nn.unet import UNet


def make_denoiser(network: dict[str, Any]) -> nn.Module:
    """A denoiser from the words of a card or configuration: `class` "unet" (the default) or "dncnn".

    Raises:
        ConfigError: another class.
    """
    arguments = dict(network)
    kind = arguments.pop("class", "unet")
    if kind == "unet":
        denoiser: nn.Module = Corrector(UNet(**arguments), sign=-1.0)
    elif kind == "dncnn":
        from pellucid.nn.dncnn import DnCNN

        denoiser = DnCNN(**arguments)
    else:
        raise ConfigError(f"a denoiser's class is 'unet' or 'dncnn', not {kind!r}")
    fast: nn.Module = denoiser.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return fast
