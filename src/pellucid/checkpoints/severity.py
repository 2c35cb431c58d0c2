"""Flash-Diffusion's severity encoders: the encoder of CompVis' autoencoders with a 1x1 head that tells the error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.checkpoints.folder import read_part
from pellucid.checkpoints.kinds import Foreign, Kind, Part, Plan, Shapes, Weight
from pellucid.nn.severity import SeverityEncoder

DOWN = re.compile(r"encoder\.down\.(\d+)\.(block\.(\d+)\.|downsample\.)(.*)")
MIDDLE = {"block_1": "resnets.0", "attn_1": "attentions.0", "block_2": "resnets.1"}
INNER = {"nin_shortcut": "conv_shortcut"}
ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}


def prefix_of(shapes: Shapes) -> str | None:
    """What stands before the encoder's keys; None where there is no severity encoder.

    With a head std_conv, what stands before that; without, a bare encoder with its quant_conv and no decoder.
    """
    heads = [key.removesuffix("std_conv.weight") for key in shapes if key.endswith("std_conv.weight")]
    for prefix in heads:
        if {f"{prefix}encoder.conv_in.weight", f"{prefix}quant_conv.weight"} <= set(shapes):
            return prefix
    begins = [key.removesuffix("encoder.conv_in.weight") for key in shapes if key.endswith("encoder.conv_in.weight")]
    for prefix in begins:
        bare = not any(key.startswith((f"{prefix}decoder.", f"{prefix}post_quant_conv.")) for key in shapes)
        if bare and f"{prefix}quant_conv.weight" in shapes and f"{prefix}encoder.mid.block_1.norm1.weight" in shapes:
            return prefix
    return None


def recognise(shapes: Shapes) -> bool:
    """Whether there are the keys of a severity encoder."""
    return prefix_of(shapes) is not None


def configuration(shapes: Shapes) -> dict[str, Any]:
    """SeverityEncoder's arguments from the shapes of the original weights, without prefix.

    Raises:
        KeyError: a weight that every such encoder has is missing.
    """
    levels = 1 + max((int(found[1]) for key in shapes if (found := DOWN.fullmatch(key))), default=0)
    blocks = 1 + max((int(found[3]) for key in shapes if (found := DOWN.fullmatch(key)) and found[3]), default=0)
    family = "vq" if "std_conv.weight" in shapes else "kl"
    times = 2 if family == "kl" else 1
    outputs, inputs = shapes["quant_conv.weight"][:2]
    return {
        "family": family,
        "channels": shapes["encoder.conv_in.weight"][1],
        "latent": outputs // times,
        "z_channels": inputs // times,
        "widths": [shapes[f"encoder.down.{level}.block.0.conv2.weight"][0] for level in range(levels)],
        "blocks": blocks,
        "groups": 32,
    }


def renamed(key: str) -> str:
    """diffusers' name of an original key."""
    if found := DOWN.fullmatch(key):
        level, block, rest = found[1], found[3], found[4]
        if block is None:
            return f"encoder.down_blocks.{level}.downsamplers.0.{rest}"
        return f"encoder.down_blocks.{level}.resnets.{block}.{_inner(rest, INNER)}"
    if key.startswith("encoder.mid."):
        part, rest = key.removeprefix("encoder.mid.").split(".", 1)
        names = ATTENTION if part == "attn_1" else INNER
        return f"encoder.mid_block.{MIDDLE.get(part, part)}.{_inner(rest, names)}"
    return key.replace("encoder.norm_out.", "encoder.conv_norm_out.")


def _inner(rest: str, names: Mapping[str, str]) -> str:
    name, _, leaf = rest.partition(".")
    return f"{names.get(name, name)}.{leaf}"


def squeezed(tensor: Tensor) -> Tensor:
    """The matrix of a 1x1 convolution."""
    return tensor.flatten(1) if tensor.ndim == 4 else tensor


def plan(foreign: Foreign) -> Plan:
    """The configuration and the renamed weights; other networks in the same file are left out."""
    prefix = prefix_of(foreign.shapes)
    if prefix is None:
        raise ValueError("it holds no encoder with quant_conv and std_conv")
    begins = tuple(prefix + name for name in ("encoder.", "quant_conv.", "std_conv."))
    own = {key.removeprefix(prefix): key for key in foreign.tensors if key.startswith(begins)}
    config = configuration({key: foreign.shapes[source] for key, source in own.items()})
    weights = {
        renamed(key): Weight(source, squeezed) if ".attn_1." in key else Weight(source) for key, source in own.items()
    }
    taken = set(own.values())
    # A training file also keeps the frozen autoencoder and the networks of its loss.
    ignored = [key for key in foreign.tensors if key not in taken] if prefix else []
    card = {"range": [-1, 1], "channels": config["channels"], "severity": "variance of a latent entry"}
    return Plan((Part(config, weights, build),), card, ignored)


def build(config: dict[str, Any]) -> SeverityEncoder:
    """The network of a configuration."""
    return SeverityEncoder(**config)


def load(folder: Path, card: Mapping[str, Any], device: str, autocast: torch.dtype | None) -> Any:
    """The encoder of a folder, in eval mode."""
    return read_part(folder, build, device)


def load_severity(folder: Path | str, device: str = "cpu") -> SeverityEncoder:
    """The SeverityEncoder of an imported folder. Raises `PriorError`."""
    network: Any = load(Path(folder), {}, device, None)
    return network


KINDS = (
    Kind(
        "severity",
        "Flash-Diffusion's severity encoder, from a degraded picture to a latent and its error",
        "encoder",
        recognise,
        plan,
        load,
        published=(("*.ckpt", "https://github.com/z-fabian/flash-diffusion"),),
    ),
)
