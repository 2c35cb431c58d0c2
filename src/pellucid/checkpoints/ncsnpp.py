"""NCSN++ with variance-exploding noise (Song et al., 2021), of the score_sde code, as a UNet2DModel.

Its modules are numbered in the order in which they run: `all_modules.N`. The names inside tell what each is, so that
the order is read as a sentence: levels down, the middle, levels up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

from torch import Tensor

from pellucid.checkpoints import unet2d
from pellucid.checkpoints.kinds import DIFFUSERS, Foreign, Kind, Option, Part, Plan, Shapes, Stored, Weight
from pellucid.errors import ConfigError

Block = Literal["fourier", "linear", "conv", "norm", "resnet", "attention", "combine", "other"]

RESNET = {
    "GroupNorm_0": "norm1",
    "Conv_0": "conv1",
    "Dense_0": "time_emb_proj",
    "GroupNorm_1": "norm2",
    "Conv_1": "conv2",
    "Conv_2": "conv_shortcut",
}
ATTENTION = {"NIN_0": "to_q", "NIN_1": "to_k", "NIN_2": "to_v", "NIN_3": "to_out.0", "GroupNorm_0": "group_norm"}
NARROWEST = 128  # UNet2DModel's attention blocks of this kind have 32 groups whatever their width


def _recognise(shapes: Shapes) -> bool:
    return "all_modules.0.W" in shapes and any(".NIN_0." in key for key in shapes)


def _blocks(shapes: Shapes) -> dict[int, Block]:
    parts: dict[int, dict[str, tuple[int, ...]]] = {}
    for key, shape in shapes.items():
        if key.startswith("all_modules."):
            _, number, rest = key.split(".", 2)
            parts.setdefault(int(number), {})[rest] = shape
    return {number: _block(parts[number]) for number in sorted(parts)}


def _block(parts: dict[str, tuple[int, ...]]) -> Block:
    if "W" in parts:
        return "fourier"
    if "NIN_0.W" in parts:
        return "attention"
    if "GroupNorm_1.weight" in parts:
        return "resnet"
    if set(parts) == {"Conv_0.weight", "Conv_0.bias"}:
        return "combine"
    kinds: dict[int, Block] = {1: "norm", 2: "linear", 4: "conv"}
    return kinds.get(len(parts.get("weight", ())), "other")


class _Reading:
    """The sequence of modules, taken one by one."""

    def __init__(self, shapes: Shapes) -> None:
        self.blocks = list(_blocks(shapes).items())
        self.at = 0
        self.names: dict[str, tuple[Block, str]] = {}

    def next(self, ahead: int = 0) -> Block | None:
        at = self.at + ahead
        return self.blocks[at][1] if at < len(self.blocks) else None

    def take(self, block: Block, name: str) -> str:
        """The next module's original name; it must be a `block`."""
        if self.next() != block:
            found = self.next() or "nothing"
            raise ValueError(
                f"its modules are not those of output_skip and input_skip with summed pyramids, of which only "
                f"UNet2DModel knows: where a {block} should be ({name}), there is {found}; a residual input pyramid "
                "without an output pyramid is --kind ncsnpp-residual"
            )
        original = f"all_modules.{self.blocks[self.at][0]}"
        self.names[original] = (block, name)
        self.at += 1
        return original


def _read(shapes: Shapes) -> tuple[_Reading, dict[str, Any]]:
    """Names of all modules, and the structure: (channels, blocks a level, which levels have attention)."""
    reading = _Reading(shapes)
    reading.take("fourier", "time_proj")
    reading.take("linear", "time_embedding.linear_1")
    reading.take("linear", "time_embedding.linear_2")
    reading.take("conv", "conv_in")
    levels = 1 + sum(block == "combine" for _, block in reading.blocks)
    channels, attention, per_level = [], [], 0
    for level in range(levels):
        name, count = f"down_blocks.{level}", 0
        attends = reading.next(1) == "attention"
        last = level == levels - 1
        while True:
            down = not last and reading.next() == "resnet" and reading.next(1) == "combine"
            if down or (last and count == per_level and level > 0):
                break
            original = reading.take("resnet", f"{name}.resnets.{count}")
            if count == 0:
                channels.append(shapes[f"{original}.Conv_0.weight"][0])
            if attends:
                reading.take("attention", f"{name}.attentions.{count}")
            count += 1
        per_level = per_level or count
        attention.append(attends)
        if not last:
            reading.take("resnet", f"{name}.resnet_down")
            reading.take("combine", f"{name}.skip_conv")
    reading.take("resnet", "mid_block.resnets.0")
    reading.take("attention", "mid_block.attentions.0")
    reading.take("resnet", "mid_block.resnets.1")
    for level in range(levels):
        name, top = f"up_blocks.{level}", level == levels - 1
        for index in range(per_level + 1):
            reading.take("resnet", f"{name}.resnets.{index}")
        if attention[levels - 1 - level]:
            reading.take("attention", f"{name}.attentions.0")
        reading.take("norm", "conv_norm_out" if top else f"{name}.skip_norm")
        reading.take("conv", "conv_out" if top else f"{name}.skip_conv")
        if not top:
            reading.take("resnet", f"{name}.resnet_up")
    if reading.next() is not None:
        raise ValueError(f"it has {len(reading.blocks) - reading.at} modules more than such a network has")
    return reading, {"channels": channels, "blocks": per_level, "attention": attention}


def _configuration(shapes: Shapes, structure: dict[str, Any]) -> dict[str, Any]:
    channels, attention = structure["channels"], structure["attention"]
    for width, attends in zip(channels, attention, strict=True):
        if attends and width < NARROWEST:
            raise ValueError(
                f"it has attention at {width} channels, and UNet2DModel groups fewer than {NARROWEST} in another way"
            )
    return {
        "_class_name": "UNet2DModel",
        "sample_size": None,
        "in_channels": shapes["all_modules.3.weight"][1],
        "out_channels": shapes["all_modules.3.weight"][1],
        "center_input_sample": True,
        "time_embedding_type": "fourier",
        "freq_shift": 0,
        "flip_sin_to_cos": True,
        "down_block_types": ["AttnSkipDownBlock2D" if a else "SkipDownBlock2D" for a in attention],
        "up_block_types": ["AttnSkipUpBlock2D" if a else "SkipUpBlock2D" for a in attention[::-1]],
        "block_out_channels": channels,
        "layers_per_block": structure["blocks"],
        "mid_block_scale_factor": math.sqrt(2),
        "act_fn": "silu",
        "norm_eps": 1e-6,
        # None leaves the number of groups to each layer: a quarter of its channels, at most 32, as the original does.
        "norm_num_groups": 32 if min(channels) >= NARROWEST else None,
        "attention_head_dim": None,
    }


def _weights(shapes: Shapes, names: dict[str, tuple[Block, str]]) -> Iterator[tuple[str, Weight]]:
    for key in shapes:
        if not key.startswith("all_modules."):
            continue
        module, number, inner = key.split(".", 2)
        block, name = names[f"{module}.{number}"]
        owner, _, kind = inner.rpartition(".")
        if block == "fourier":
            yield f"{name}.weight", Weight(key)
        elif block == "resnet" and owner in RESNET:
            yield f"{name}.{RESNET[owner]}.{kind}", Weight(key)
        elif block == "attention" and owner in ATTENTION:
            matrix = kind == "W"
            kind = {"W": "weight", "b": "bias"}.get(kind, kind)
            yield f"{name}.{ATTENTION[owner]}.{kind}", Weight(key, _transposed) if matrix else Weight(key)
        elif not owner or owner == "Conv_0":
            yield f"{name}.{kind}", Weight(key)


def _transposed(matrix: Tensor) -> Tensor:
    return matrix.t()


def _averaged(foreign: Foreign) -> dict[str, Stored] | None:
    """The averaged weights: a list in the order of the trainable parameters, without names."""
    ema = foreign.tree.get("ema") if isinstance(foreign.tree, dict) else None
    shadow = ema.get("shadow_params") if isinstance(ema, dict) else None
    if not isinstance(shadow, list | tuple):
        return None
    named = [key for key in foreign.tensors if key not in ("sigmas", "all_modules.0.W")]
    if len(named) != len(shadow) or not all(isinstance(entry, Stored) for entry in shadow):
        raise ValueError(f"it has {len(shadow)} averaged weights for {len(named)} parameters")
    return {**foreign.tensors, **dict(zip(named, shadow, strict=True))}


def _plan(foreign: Foreign) -> Plan:
    shapes = foreign.shapes
    reading, structure = _read(shapes)
    averaged = None if foreign.averaged is False else _averaged(foreign)
    if foreign.averaged and averaged is None:
        raise ConfigError(f"{foreign.path} holds no averaged weights; leave out --ema")
    low, high = float(foreign.options["sigma_min"]), float(foreign.options["sigma_max"])
    if (stored := foreign.tensors.get("sigmas")) is not None and len(stored.shape) == 1 and stored.shape[0] > 1:
        sigmas = stored.read().double()
        low, high = float(sigmas.min()), float(sigmas.max())
    if not 0 < low < high < math.inf:
        raise ConfigError(f"sigma_min and sigma_max must be positive and rise, not {low}, {high}")
    scheduler = {
        "_class_name": "ScoreSdeVeScheduler",
        "num_train_timesteps": 2000 if stored is None else stored.shape[0],
        "sigma_min": low,
        "sigma_max": high,
    }
    card = {
        "range": "pictures in [0, 1], which the network centres itself; its time argument is the noise level in them",
        "averaged": averaged is not None,
    }
    part = Part(_configuration(shapes, structure), dict(_weights(shapes, reading.names)), unet2d.build, stem=DIFFUSERS)
    return Plan((part,), card, ("sigmas",), {"scheduler_config.json": scheduler}, averaged)


KINDS = (
    Kind(
        name="ncsnpp",
        summary="an NCSN++ score network with variance-exploding noise (score_sde)",
        role="prior",
        recognise=_recognise,
        plan=_plan,
        load=unet2d.load,
        published=(
            (
                "ve/{celebahq,ffhq,church,bedroom}_256_ncsnpp_continuous",
                "https://github.com/yang-song/score_sde_pytorch",
            ),
        ),
        licence="score_sde_pytorch's code is Apache-2.0; for the weights see there",
        options={
            "sigma_min": Option(0.01, "the least noise level, where the file does not hold them"),
            "sigma_max": Option(348.0, "the largest noise level, where the file does not hold them"),
        },
        method="dps",
    ),
)
