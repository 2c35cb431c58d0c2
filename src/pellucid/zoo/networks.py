"""From a card to its network: what each kind of shipped network is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pellucid.errors import PriorError

if TYPE_CHECKING:
    from pellucid.nn.edm import EDMDenoiser
    from pellucid.zoo import Card

KINDS = ("prior", "latent-prior", "autoencoder", "denoiser", "estimator")


def build(card: Card) -> nn.Module:
    """The card's network with its weights, in float32, frozen, in evaluation mode.

    Raises:
        PriorError: the card's kind is unknown, its network cannot be built, or the weights do not fit it.
    """
    from pellucid.zoo import read_weights

    makers: dict[str, Callable[[dict[str, Any]], nn.Module]] = {
        "prior": _denoiser,
        "latent-prior": _denoiser,
        "autoencoder": _autoencoder,
        "denoiser": lambda data: _blind(data["network"]),
        "estimator": lambda data: _estimator(data["network"]),
    }
    if card.kind not in makers:
        raise PriorError(f"{card.folder / 'card.json'}: the kind {card.kind!r} is none of {', '.join(makers)}")
    try:
        module = makers[card.kind](card.data)
    except (KeyError, TypeError, ValueError) as error:
        raise PriorError(f"{card.folder / 'card.json'} describes no network: {error}") from error
    try:
        module.load_state_dict(read_weights(card))
    except RuntimeError as error:
        raise PriorError(f"{card.folder} holds weights that do not fit the network of its card: {error}") from error
    return module.eval().requires_grad_(False)


def _denoiser(data: dict[str, Any]) -> EDMDenoiser:
    from pellucid.nn.edm import EDMDenoiser
    from pellucid.nn.unet import UNet

    return EDMDenoiser(UNet(**data["network"]), data["sigma_data"])


def _autoencoder(data: dict[str, Any]) -> nn.Module:
    try:
        from diffusers import AutoencoderKL, VQModel
    except ImportError as error:
        raise PriorError("an autoencoder needs the extra: pip install 'pellucid[diffusers]'") from error
    words = {key: tuple(value) if isinstance(value, list) else value for key, value in data["network"].items()}
    classes: dict[str, Any] = {"VQModel": VQModel, "AutoencoderKL": AutoencoderKL}
    module: nn.Module = classes[str(words.pop("class"))](**words)
    return module


def _blind(network: dict[str, Any]) -> nn.Module:
    from pellucid.nn.blind import make_denoiser

    return make_denoiser(network)


def _estimator(network: dict[str, Any]) -> nn.Module:
    from pellucid.nn.estimator import make_estimator

    return make_estimator(network)


def placed(module: nn.Module, device: str) -> nn.Module:
    """The module on a device, in the memory format that convolutions are fast in."""
    moved: nn.Module = module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved
