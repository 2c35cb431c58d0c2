"""Codecs from diffusers folders of autoencoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from pellucid.checkpoints.diffusers import load_model
from pellucid.codec.autoencoder import AutoencoderCodec


def load_autoencoder(
    folder: Path, device: str = "cpu", autocast: torch.dtype | None = None, **options: Any
) -> AutoencoderCodec:
    """The codec of a diffusers VQModel or AutoencoderKL folder: config.json and safetensors.

    Args:
        folder: of the autoencoder.
        device: where it goes.
        autocast: dtype of its forward pass.
        options: others of `AutoencoderCodec`.

    Raises:
        PriorError: it is no such folder, its weights are missing, damaged, or do not fit its configuration.
    """
    return AutoencoderCodec(load_model(folder, ("VQModel", "AutoencoderKL"), device), autocast=autocast, **options)
