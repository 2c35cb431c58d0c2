"""Where training begins: the weights of a shipped or imported network instead of random ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.errors import ConfigError, PriorError
from pellucid.train.config import PriorConfig, RunConfig
from pellucid.zoo import Card, find, load, load_autoencoder, load_estimator, read_weights

# Layers that see or make picture channels: there a grey network and a colour one can be turned into each other.
INPUTS = ("stem.weight", "conv_in.weight")
# Imported networks that training can begin from, beside our own.
BEGINNINGS = ("UNet2DModel", "VQModel", "AutoencoderKL", "SwinIR", "DnCNN")
LOG_VARIANCE = -10.0  # of a KL autoencoder's latents that begins as a VQ one
OUTPUTS = ("head.weight", "head.bias", "conv_out.weight", "conv_out.bias")


def with_network(config: RunConfig) -> RunConfig:
    """The configuration with the network of its `init`, where it names no network of its own.

    Raises:
        UnknownNameError, PriorError: there is no such prior, or it cannot be read.
    """
    if config.init is None or config.network:
        return config
    words, schedule = _words(config.init)
    config = dataclasses.replace(config, network=words)
    if schedule and isinstance(config, PriorConfig) and not config.schedule:
        config = dataclasses.replace(config, schedule=schedule)
    return config


def initialise(model: nn.Module, source: str) -> None:
    """Copies the weights of a shipped or imported network into a model of the same shape.

    Where only the number of picture channels differs, a colour network's first layer is summed over the channels and
    its last one averaged for grey, and spread evenly the other way round.

    Raises:
        ConfigError: the networks differ; the first layers that do are named.
    """
    given, own = _weights(source), model.state_dict()
    codebook = "quantize.embedding.weight"
    if codebook in given and codebook not in own and "quant_conv.weight" in own:
        given = _with_variance(given)
    adapted = {name: _fitted(name, value, own[name]) for name, value in given.items() if name in own}
    wrong = [name for name in own if name not in adapted or adapted[name].shape != own[name].shape]
    unknown = [name for name in given if name not in own]
    if wrong or unknown:
        kinds = (("missing or of another shape", wrong), ("unknown", unknown))
        said = "; ".join(f"{kind}: {', '.join(names[:3])}" for kind, names in kinds if names)
        raise ConfigError(f"{source} is another network than this training's [network] ({said})")
    model.load_state_dict(adapted)


def _with_variance(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """A VQ autoencoder's weights as a KL one's: the latents become the mean, of a small variance; no codebook."""
    d = len(given["quant_conv.weight"])
    changed = {key: value for key, value in given.items() if not key.startswith("quantize.")}
    weight, bias = given["quant_conv.weight"], given["quant_conv.bias"]
    last, last_bias = given["encoder.conv_out.weight"], given["encoder.conv_out.bias"]
    changed["encoder.conv_out.weight"] = torch.cat([last, torch.zeros_like(last)])
    changed["encoder.conv_out.bias"] = torch.cat([last_bias, torch.zeros_like(last_bias)])
    square = torch.zeros(2 * d, 2 * len(last), *weight.shape[2:])
    square[:d, : len(last)] = weight
    changed["quant_conv.weight"] = square
    changed["quant_conv.bias"] = torch.cat([bias, torch.full_like(bias, LOG_VARIANCE)])
    return changed


def _fitted(name: str, value: Tensor, like: Tensor) -> Tensor:
    """`value` with the picture channels of `like`; unchanged where that is not what differs."""
    dim = 1 if name.endswith(INPUTS) else 0 if name.endswith(OUTPUTS) else None
    if dim is None or value.shape == like.shape or value.ndim != like.ndim:
        return value
    here, there = value.shape[dim], like.shape[dim]
    rest = [k for k in range(value.ndim) if k != dim]
    if any(value.shape[k] != like.shape[k] for k in rest) or max(here, there) % min(here, there):
        return value
    ratio = max(here, there) // min(here, there)
    # pixel-unshuffle puts the offsets of one colour channel side by side, so channels are the outer index.
    if here > there:
        folded = value.unflatten(dim, (ratio, there))
        return folded.sum(dim) if dim == 1 else folded.mean(dim)
    spread = torch.cat([value] * ratio, dim)
    return spread / ratio if dim == 1 else spread


def _words(source: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The [network] and [schedule] that a source stands for."""
    if (card := _own(source)) is not None:
        blind = card.kind == "denoiser"  # whose `class` says which network it is
        left = {"channels", "scale"} | (set() if blind else {"class"})
        return {k: v for k, v in card.data["network"].items() if k not in left}, {}
    from pellucid.checkpoints.diffusers import scheduler_config

    model = _foreign(source)
    words = {k: v for k, v in dict(model.config).items() if not k.startswith("_")}
    kind = type(model).__name__
    if kind == "UNet2DModel":
        return {"class": kind, **words}, dict(scheduler_config(find(source)))
    if kind == "DnCNN":
        return {"class": "dncnn", "width": words["width"], "depth": words["depth"]}, {}
    return {k: v for k, v in words.items() if k not in ("channels", "upscale", "in_channels", "out_channels")}, {}


def _weights(source: str) -> dict[str, Tensor]:
    if (card := _own(source)) is not None:
        return read_weights(card)
    return dict(_foreign(source).state_dict())


def _own(source: str) -> Card | None:
    """The card of a network in our own format; None for an imported folder, or one in diffusers' format."""
    folder = find(source)
    card = Card.read(folder) if (folder / "card.json").is_file() else None
    return card if card is not None and "network" in card.data else None


def _foreign(source: str) -> Any:
    """The module of an imported or diffusers folder that training can begin from."""
    folder = find(source)
    for read in (_prior_module, _autoencoder_module, load_estimator):
        try:
            module: Any = read(folder)
        except PriorError:
            continue
        if type(module).__name__ in BEGINNINGS:
            return module
    raise ConfigError(f"{source} is no network that training can begin from; those are {', '.join(BEGINNINGS)}")


def _prior_module(folder: Path) -> Any:
    network: Any = load(folder, precision="float32").network
    return getattr(network, "model", getattr(network, "network", network))


def _autoencoder_module(folder: Path) -> Any:
    return load_autoencoder(folder).module
