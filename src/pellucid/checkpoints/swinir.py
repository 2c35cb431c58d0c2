"""SwinIR: the published networks for denoising, JPEG, classical, lightweight and real-world super-resolution."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from math import isqrt
from pathlib import Path
from typing import Any

import torch

from pellucid.checkpoints.folder import read_part
from pellucid.checkpoints.kinds import Foreign, Kind, Option, Part, Plan, Shapes, Weight
from pellucid.nn.swinir import SwinIR

BUFFERS = (".relative_position_index", ".attn_mask")  # made anew for every size
BLOCK = "layers.{}.residual_group.blocks.{}."


def recognise(shapes: Shapes) -> bool:
    """Whether these are the keys of a SwinIR."""
    return "conv_first.weight" in shapes and BLOCK.format(0, 0) + "attn.relative_position_bias_table" in shapes


def configuration(shapes: Shapes, image_range: float | None = None) -> dict[str, Any]:
    """SwinIR's arguments from the shapes of its weights.

    Shapes do not tell the range that pictures are multiplied by: 255 where windows have 7 pixels a side and the size
    stays, which is so in the published JPEG networks only; else 1. Windows are shifted unless the file has the buffers
    of its attention but no mask for shifted windows.

    Raises:
        KeyError: a weight that every SwinIR has is missing.
    """
    width, channels = shapes["conv_first.weight"][:2]
    tables = [BLOCK.format(i, 0) + "attn.relative_position_bias_table" for i in range(_layers(shapes))]
    hidden = shapes[BLOCK.format(0, 0) + "mlp.fc1.weight"][0]
    upsampler, upscale = _enlarging(shapes, channels)
    window = (isqrt(shapes[tables[0]][0]) + 1) // 2
    if image_range is None:
        image_range = 255.0 if window == 7 and not upsampler else 1.0
    return {
        "channels": channels,
        "width": width,
        "depths": [_blocks(shapes, i) for i in range(len(tables))],
        "heads": [shapes[table][1] for table in tables],
        "window": window,
        "mlp_ratio": hidden / width,
        "upscale": upscale,
        "upsampler": upsampler,
        "connection": "3conv" if "conv_after_body.0.weight" in shapes else "1conv",
        "image_range": float(image_range),
        "shifted": not any(key.endswith(BUFFERS[0]) for key in shapes)
        or any(key.endswith(BUFFERS[1]) for key in shapes),
    }


def _layers(shapes: Shapes) -> int:
    return next(i for i in count() if BLOCK.format(i, 0) + "norm1.weight" not in shapes)


def _blocks(shapes: Shapes, layer: int) -> int:
    return next(i for i in count() if BLOCK.format(layer, i) + "norm1.weight" not in shapes)


def _enlarging(shapes: Shapes, channels: int) -> tuple[str, int]:
    if "conv_hr.weight" in shapes:
        return "nearest+conv", 4 if "conv_up2.weight" in shapes else 2
    if "conv_before_upsample.0.weight" in shapes:
        upscale, index = 1, 0
        while (key := f"upsample.{index}.weight") in shapes:
            outputs, inputs = shapes[key][:2]
            upscale, index = upscale * isqrt(outputs // inputs), index + 2
        return "pixelshuffle", upscale
    if "upsample.0.weight" in shapes:
        return "pixelshuffledirect", isqrt(shapes["upsample.0.weight"][0] // channels)
    return "", 1


def plan(foreign: Foreign) -> Plan:
    """The configuration and the weights; buffers are left out."""
    weights = {key: Weight(key) for key in foreign.tensors if not key.endswith(BUFFERS)}
    config = configuration(foreign.shapes, foreign.options.get("image_range"))
    ignored = [key for key in foreign.tensors if key.endswith(BUFFERS)]
    card = {"range": [0, 1], "upscale": config["upscale"], "channels": config["channels"]}
    return Plan((Part(config, weights, build),), card, ignored)


def build(config: dict[str, Any]) -> SwinIR:
    """The network of a configuration."""
    return SwinIR(**config)


def load(folder: Path, card: Mapping[str, Any], device: str, autocast: torch.dtype | None) -> Any:
    """The network of a folder, in eval mode: pictures in [0, 1] -> pictures in [0, 1]."""
    return read_part(folder, build, device)


def load_swinir(folder: Path | str, device: str = "cpu") -> SwinIR:
    """The SwinIR of an imported folder. Raises `PriorError`."""
    network: Any = load(Path(folder), {}, device, None)
    return network


KINDS = (
    Kind(
        "swinir",
        "SwinIR, a supervised network from a degraded picture to a restored one",
        "estimator",
        recognise,
        plan,
        load,
        published=(("*_SwinIR-*.pth", "https://github.com/JingyunLiang/SwinIR/releases"),),
        licence="Apache-2.0",
        options={"image_range": Option(None, "what pictures are multiplied by inside: 255 for JPEG, else 1")},
    ),
)
