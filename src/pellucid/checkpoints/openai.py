"""The U-Net of OpenAI's diffusion codes and of latent diffusion, as a UNet2DModel: configuration and names from shapes.

Both codes number their blocks through: `input_blocks.n` and `output_blocks.n`, of L levels with R residual blocks each,
n = 1 + l (R + 1) + r on the way down, the last of a level being the change of size; n = i (R + 1) + r on the way up, i
counted from the deepest level. Attention follows a residual block as its neighbour `.1`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from pellucid.checkpoints.kinds import Shapes, Weight

RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}


def is_unet(shapes: Shapes) -> bool:
    """Whether these are the names of such a U-Net without text."""
    return (
        "input_blocks.0.0.weight" in shapes
        and "time_embed.0.weight" in shapes
        and "out.2.weight" in shapes
        and not any("transformer_blocks" in key for key in shapes)
    )


def configuration(shapes: Shapes, head_channels: int) -> dict[str, Any]:
    """The configuration of the UNet2DModel that holds a state dict of these shapes.

    Args:
        shapes: of the state dict.
        head_channels: channels of an attention head; 0 is one head. Shapes do not tell it.

    Raises:
        ValueError: the network's structure is not one that UNet2DModel has.
    """
    levels, blocks = _structure(shapes)
    first = [1 + level * (blocks + 1) for level in range(levels)]
    channels = [shapes[f"input_blocks.{n}.0.out_layers.3.weight"][0] for n in first]
    attention = [f"input_blocks.{n}.1.qkv.weight" in shapes for n in first]
    down = f"input_blocks.{blocks + 1}.0"
    resnet = f"{down}.in_layers.2.weight" in shapes if levels > 1 else False
    if levels > 1 and not resnet and f"{down}.op.weight" not in shapes:
        raise ValueError("its levels are joined by pooling, which UNet2DModel has not")
    shift = shapes["input_blocks.1.0.emb_layers.1.weight"][0] == 2 * channels[0]
    for level, width in enumerate(channels):
        if head_channels and (attention[level] or level == levels - 1) and width % head_channels:
            raise ValueError(
                f"its {width} channels are no multiple of {head_channels} channels a head; "
                "say how many a head has: --set head_channels=N"
            )
    plain = "ResnetDownsampleBlock2D" if resnet else "DownBlock2D"
    config: dict[str, Any] = {
        "_class_name": "UNet2DModel",
        "sample_size": None,
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "out_channels": shapes["out.2.weight"][0],
        "center_input_sample": False,
        "time_embedding_type": "positional",
        "freq_shift": 0,
        "flip_sin_to_cos": True,
        "down_block_types": ["AttnDownBlock2D" if a else plain for a in attention],
        "up_block_types": ["AttnUpBlock2D" if a else plain.replace("Down", "Up", 1) for a in attention[::-1]],
        "block_out_channels": channels,
        "layers_per_block": blocks,
        "downsample_padding": 1,
        "downsample_type": "resnet" if resnet else "conv",
        "upsample_type": "resnet" if resnet else "conv",
        "act_fn": "silu",
        "attention_head_dim": head_channels or None,
        "norm_num_groups": 32,
        "attn_norm_num_groups": 32,
        "norm_eps": 1e-5,
        "resnet_time_scale_shift": "scale_shift" if shift else "default",
        "add_attention": "middle_block.1.qkv.weight" in shapes,
    }
    config["up_block_types"] = [name.replace("Downsample", "Upsample") for name in config["up_block_types"]]
    if "label_emb.weight" in shapes:
        config["num_class_embeds"] = shapes["label_emb.weight"][0]
    return config


def _structure(shapes: Shapes) -> tuple[int, int]:
    """(levels, residual blocks a level), from where `output_blocks` grow: at the end of every level but the top one."""
    total = 1 + max((int(key.split(".")[1]) for key in shapes if key.startswith("output_blocks.")), default=-1)
    if not 1 <= total <= len(shapes):
        raise ValueError("its output_blocks are not numbered through")
    growing = [n for n in range(total) if _upsampler(shapes, n) is not None]
    blocks = growing[0] if growing else total - 1
    levels = len(growing) + 1
    if (
        blocks < 1
        or levels * (blocks + 1) != total
        or growing != [i * (blocks + 1) + blocks for i in range(levels - 1)]
    ):
        raise ValueError(f"its {total} output blocks do not make levels of one size")
    return levels, blocks


def _upsampler(shapes: Shapes, n: int) -> int | None:
    """Which child of `output_blocks.n` doubles the size."""
    for child in (1, 2):
        name = f"output_blocks.{n}.{child}"
        if f"{name}.conv.weight" in shapes or f"{name}.in_layers.0.weight" in shapes:
            return child
    return None


def weights(
    shapes: Shapes, head_channels: int, new_attention_order: bool = False, prefix: str = ""
) -> dict[str, Weight]:
    """UNet2DModel's keys, and where in the file (`prefix` + original key) each comes from.

    Args:
        shapes: under the original names, without the prefix.
        head_channels: see `configuration`.
        new_attention_order: rows of `qkv` are (q, k, v) x heads x channels, not heads x (q, k, v) x channels.
        prefix: of the names in the file.

    Raises:
        ValueError: see `configuration`.
    """
    levels, blocks = _structure(shapes)
    modules = {
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "input_blocks.0.0": "conv_in",
        "out.0": "conv_norm_out",
        "out.2": "conv_out",
        "label_emb": "class_embedding",
        **_resnet("middle_block.0", "mid_block.resnets.0"),
        **_resnet("middle_block.2", "mid_block.resnets.1"),
    }
    attentions = {"middle_block.1": "mid_block.attentions.0"}
    for level in range(levels):
        for r in range(blocks):
            n = 1 + level * (blocks + 1) + r
            modules |= _resnet(f"input_blocks.{n}.0", f"down_blocks.{level}.resnets.{r}")
            attentions[f"input_blocks.{n}.1"] = f"down_blocks.{level}.attentions.{r}"
        n = (level + 1) * (blocks + 1)
        modules[f"input_blocks.{n}.0.op"] = f"down_blocks.{level}.downsamplers.0.conv"
        modules |= _resnet(f"input_blocks.{n}.0", f"down_blocks.{level}.downsamplers.0")
        for r in range(blocks + 1):
            n = level * (blocks + 1) + r
            modules |= _resnet(f"output_blocks.{n}.0", f"up_blocks.{level}.resnets.{r}")
            attentions[f"output_blocks.{n}.1"] = f"up_blocks.{level}.attentions.{r}"
        n = level * (blocks + 1) + blocks
        for child in (1, 2):
            modules[f"output_blocks.{n}.{child}.conv"] = f"up_blocks.{level}.upsamplers.0.conv"
            modules |= _resnet(f"output_blocks.{n}.{child}", f"up_blocks.{level}.upsamplers.0")
    found: dict[str, Weight] = {}
    for key in shapes:
        module, _, kind = key.rpartition(".")
        owner, _, part = module.rpartition(".")
        if module in modules:
            found[f"{modules[module]}.{kind}"] = Weight(prefix + key)
        elif owner in attentions and part == "qkv":
            for index, name in enumerate("qkv"):
                change = split_qkv(index, head_channels, new_attention_order)
                found[f"{attentions[owner]}.to_{name}.{kind}"] = Weight(prefix + key, change)
        elif owner in attentions and part == "proj_out":
            found[f"{attentions[owner]}.to_out.0.{kind}"] = Weight(prefix + key, _flat)
        elif owner in attentions and part == "norm":
            found[f"{attentions[owner]}.group_norm.{kind}"] = Weight(prefix + key)
    return found


def _resnet(original: str, ours: str) -> dict[str, str]:
    return {f"{original}.{theirs}": f"{ours}.{name}" for theirs, name in RESNET.items()}


def _flat(tensor: Tensor) -> Tensor:
    """A convolution of size 1 as a matrix; a bias as it is."""
    return tensor.flatten(1).reshape(tensor.shape[:2]) if tensor.ndim > 1 else tensor


def split_qkv(index: int, head_channels: int, new_order: bool) -> Callable[[Tensor], Tensor]:
    """One of q, k, v (index 0, 1, 2) out of a joint weight (3 C, C, 1) or bias (3 C)."""
    return partial(_split, index=index, head_channels=head_channels, new_order=new_order)


def _split(qkv: Tensor, index: int, head_channels: int, new_order: bool) -> Tensor:
    qkv = _flat(qkv)
    width = len(qkv) // 3
    head = width if new_order or not head_channels else head_channels
    return qkv.reshape(width // head, 3, head, *qkv.shape[1:])[:, index].reshape(width, *qkv.shape[1:])
