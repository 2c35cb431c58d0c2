"""NCSN++ with progressive "none" and progressive_input "residual", of the score_sde code.

Asked for by name (`--kind ncsnpp-residual`): the kind `ncsnpp` recognises all networks of that code and says which of
them it cannot hold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pellucid.checkpoints.folder import read_part
from pellucid.checkpoints.kinds import Foreign, Kind, Option, Part, Plan, Shapes, same_names
from pellucid.checkpoints.ncsnpp import _averaged
from pellucid.codec import AffineCodec
from pellucid.errors import ConfigError
from pellucid.nn.ncsnpp import ResidualNCSNpp
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.process import VE

FIRST = 4  # after the embedding and the first convolution


def configuration(shapes: Shapes) -> dict[str, Any]:
    """ResidualNCSNpp's arguments from the shapes of its weights; whether it wants [-1, 1] they do not tell.

    Raises:
        KeyError, ValueError: it has no residual pyramid, or lacks parts that every such network has.
    """
    width, channels = shapes["all_modules.3.weight"][:2]
    shrinks = sorted(int(key.split(".")[1]) for key in shapes if key.endswith(".Conv2d_0.weight"))
    if not shrinks:
        raise ValueError("it has no residual pyramid (Conv2d_0)")

    def has(place: int, name: str) -> bool:
        return f"all_modules.{place}.{name}" in shapes

    begins = [FIRST, *(place + 1 for place in shrinks)]
    blocks = sum(has(place, "Conv_0.weight") for place in range(FIRST, shrinks[0])) - 1
    return {
        "channels": channels,
        "width": width,
        "multiples": [shapes[f"all_modules.{place}.Conv_0.weight"][0] // width for place in begins],
        "blocks": blocks,
        "attention": [has(place + 1, "NIN_0.W") for place in begins],
    }


def plan(foreign: Foreign) -> Plan:
    """The configuration and the weights: the averaged ones where the file holds them."""
    averaged = None if foreign.averaged is False else _averaged(foreign)
    if foreign.averaged and averaged is None:
        raise ConfigError(f"{foreign.path} holds no averaged weights; leave out --ema")
    low, high = float(foreign.options["sigma_min"]), float(foreign.options["sigma_max"])
    if (stored := foreign.tensors.get("sigmas")) is not None and len(stored.shape) == 1 and stored.shape[0] > 1:
        sigmas = stored.read().double()
        low, high = float(sigmas.min()), float(sigmas.max())
    if not 0 < low < high < math.inf:
        raise ConfigError(f"sigma_min and sigma_max must be positive and rise, not {low}, {high}")
    config = configuration(foreign.shapes) | {"centered": foreign.options["centered"]}
    weights = {key: weight for key, weight in same_names(foreign).items() if key != "sigmas"}
    card = {
        "range": [-1, 1] if config["centered"] else [0, 1],
        "channels": config["channels"],
        "sigma": [low, high],
        "averaged": averaged is not None,
    }
    return Plan((Part(config, weights, build),), card, ("sigmas",), tensors=averaged)


def build(config: dict[str, Any]) -> ResidualNCSNpp:
    """The network of a configuration."""
    return ResidualNCSNpp(**config)


def load(folder: Path, card: Mapping[str, Any], device: str, autocast: torch.dtype | None) -> Any:
    """The network as a prior of exploding variance, its space being pictures in the card's range."""
    network: Any = read_part(folder, build, device)
    low, high = card["sigma"]
    return DiffusionPrior(
        network,
        VE(high, low),
        "score",
        codec=AffineCodec() if network.centered else AffineCodec(1.0, 0.0),
        multiple=network.multiple,
        channels=network.config["channels"],
        autocast=autocast,
    )


KINDS = (
    Kind(
        "ncsnpp-residual",
        "an NCSN++ score network with a residual pyramid (score_sde); only by --kind",
        "prior",
        lambda shapes: False,
        plan,
        load,
        published=(("ve/cifar10_ncsnpp_continuous", "https://github.com/yang-song/score_sde_pytorch"),),
        licence="score_sde_pytorch's code is Apache-2.0; of the weights nothing is said",
        options={
            "sigma_min": Option(0.01, "the least noise level, where the file does not hold them"),
            "sigma_max": Option(50.0, "the largest noise level, where the file does not hold them"),
            "centered": Option(False, "whether the network takes pictures in [-1, 1] and not in [0, 1]"),
        },
        method="dps",
    ),
)
