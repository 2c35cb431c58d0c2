"""The networks of Dirac: its Lightning checkpoints hold one as `denoiser_fn.`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pellucid.checkpoints.folder import read_part
from pellucid.checkpoints.kinds import Foreign, Kind, Part, Plan, Shapes, Weight
from pellucid.nn.songunet import SongUNet

PREFIXES = ("", "denoiser_fn.", "model.")
FIRST = re.compile(r"enc\.(\d+)x\1_conv\.weight")


def prefix_of(shapes: Shapes) -> str | None:
    """What stands before the network's keys; None where there is no such network with a residual pyramid."""
    for prefix in PREFIXES:
        if prefix + "map_noise.freqs" in shapes:
            own = [key.removeprefix(prefix) for key in shapes if key.startswith(prefix)]
            if any(FIRST.fullmatch(key) for key in own) and any("_aux_residual" in key for key in own):
                return prefix
    return None


def recognise(shapes: Shapes) -> bool:
    """Whether there are the keys of such a network."""
    return prefix_of(shapes) is not None


def configuration(shapes: Shapes) -> dict[str, Any]:
    """SongUNet's arguments from the shapes of its weights, without prefix.

    The filter's taps are in the file themselves; of the configuration's only their number matters.

    Raises:
        KeyError, ValueError: weights that every such network has are missing.
    """
    first = next((match for key in shapes if (match := FIRST.fullmatch(key))), None)
    if first is None:
        raise ValueError("no first convolution enc.RxR_conv")
    resolution = int(first[1])
    width, channels = shapes[first[0]][:2]
    multiples, attention, blocks = [], [], 0
    size = resolution
    while size and f"enc.{size}x{size}_block0.norm0.weight" in shapes:
        name = f"enc.{size}x{size}_block0"
        multiples.append(shapes[f"{name}.conv0.weight"][0] // width)
        if f"{name}.qkv.weight" in shapes:
            attention.append(size)
        size //= 2
    while f"enc.{resolution}x{resolution}_block{blocks}.norm0.weight" in shapes:
        blocks += 1
    taps = next((shape[-1] for key, shape in shapes.items() if key.endswith(".resample_filter")), 4)
    return {
        "resolution": resolution,
        "channels": channels,
        "width": width,
        "multiples": multiples,
        "blocks": blocks,
        "attention": attention,
        "embedding": shapes["map_layer0.weight"][0] // width,
        "frequencies": 2 * shapes["map_noise.freqs"][0] // width,
        "dropout": 0.1,
        "taps": [1, 3, 3, 1] if taps == 4 else [1] * taps,
    }


def plan(foreign: Foreign) -> Plan:
    """The configuration and the weights; what else a training keeps (LPIPS) is left out."""
    prefix = prefix_of(foreign.shapes)
    if prefix is None:
        raise ValueError("it holds no network with a residual pyramid (enc.*_aux_residual)")
    own = {key.removeprefix(prefix): key for key in foreign.tensors if key.startswith(prefix)}
    if not prefix:
        own = {key: key for key in foreign.tensors if key.startswith(("map_", "enc.", "dec."))}
    config = configuration({key: foreign.shapes[source] for key, source in own.items()})
    taken = set(own.values())
    card = {
        "range": [0, 1],
        "channels": config["channels"],
        "noise_level": "standard deviation in [0, 1]",
        "predicts": "the residual: x_0 = y + F(y, noise)",
        **_settings(foreign.tree),
    }
    weights = {key: Weight(source) for key, source in own.items()}
    ignored = [key for key in foreign.tensors if key not in taken and key.startswith("lpips.")]
    return Plan((Part(config, weights, build),), card, ignored)


def _settings(tree: Any) -> dict[str, Any]:
    """What the file says of the degradation that the network was trained on."""
    given = tree.get("hyper_parameters") if isinstance(tree, dict) else None
    if not isinstance(given, dict):
        return {}
    plain = {
        name: {key: value for key, value in given[name].items() if isinstance(value, int | float | str)}
        for name in ("operator_config", "noise_config")
        if isinstance(given.get(name), dict)
    }
    return {"training": plain} if plain else {}


def build(config: dict[str, Any]) -> SongUNet:
    """The network of a configuration."""
    return SongUNet(**config)


def load(folder: Path, card: Mapping[str, Any], device: str, autocast: torch.dtype | None) -> Any:
    """The network of a folder, in eval mode."""
    return read_part(folder, build, device)


def load_songunet(folder: Path | str, device: str = "cpu") -> SongUNet:
    """The SongUNet of an imported folder. Raises `PriorError`."""
    network: Any = load(Path(folder), {}, device, None)
    return network


KINDS = (
    Kind(
        "dirac",
        "Dirac's restoration network, told the noise level of a partly degraded picture",
        "restoration-prior",
        recognise,
        plan,
        load,
        published=(("*.ckpt", "https://github.com/z-fabian/dirac-diffusion"),),
    ),
)
