"""From a card to its network: what each kind of shipped network is made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pellucid.checkpoints.announced import announced
from pellucid.errors import PriorError

if TYPE_CHECKING:
    from pellucid.nn.edm import EDMDenoiser
    from pellucid.zoo.card import Card

KINDS = ("prior", "latent-prior", "autoencoder", "denoiser", "estimator", "severity", "parameter", "dirac")


def build(card: Card) -> nn.Module:
    """The card's network with its weights, in float32, frozen, in evaluation mode.

    Memory is taken only once the file is known to hold what the card announces.

    Raises:
        PriorError: the card's kind is unknown, its network cannot be built, or the weights do not fit it.
    """
    from pellucid.zoo.weights import read_weights

    weights = read_weights(card)
    module = _maker(card)(card.data)
    module.load_state_dict(weights)
    return module.eval().requires_grad_(False)


def announced_shapes(card: Card) -> dict[str, tuple[int, ...]]:
    """{key: shape} of the weights of the network that a card describes, without memory for them.

    Raises:
        PriorError: the card's kind is unknown, or it describes no network.
    """
    make = _maker(card)
    return announced(lambda: make(card.data), f"{card.folder / 'card.json'} describes no network")


def _maker(card: Card) -> Callable[[dict[str, Any]], nn.Module]:
    makers: dict[str, Callable[[dict[str, Any]], nn.Module]] = {
        "prior": _denoiser,
        "latent-prior": _denoiser,
        "autoencoder": _autoencoder,
        "denoiser": lambda data: _blind(data["network"]),
        "estimator": lambda data: _estimator(data["network"]),
        "severity": lambda data: _severity(data["network"]),
        "parameter": lambda data: _parameter(data["network"]),
        "dirac": lambda data: _dirac(data["network"]),
    }
    if card.kind not in makers:
        raise PriorError(f"{card.folder / 'card.json'}: the kind {card.kind!r} is none of {', '.join(makers)}")
    return makers[card.kind]


def _denoiser(data: dict[str, Any]) -> EDMDenoiser:
    from pellucid.nn.edm import EDMDenoiser
    from pellucid.nn.unet import UNet

    deviation = float(data["sigma_data"])
    if not 0 < deviation < math.inf:
        raise ValueError(f"sigma_data is {deviation}")
    return EDMDenoiser(UNet(**data["network"]), deviation)


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


def _severity(network: dict[str, Any]) -> nn.Module:
    from pellucid.nn.severity import make_severity

    return make_severity(network)


def _parameter(network: dict[str, Any]) -> nn.Module:
    from pellucid.nn.parameter import ParameterHead

    return ParameterHead(**network)


def _dirac(network: dict[str, Any]) -> nn.Module:
    from pellucid.nn.restorer import DiracNetwork

    return DiracNetwork(**network)


def placed(module: nn.Module, device: str) -> nn.Module:
    """The module on a device, in the memory format that convolutions are fast in."""
    moved: nn.Module = module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved
