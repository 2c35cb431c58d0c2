"""Names of the blocks that the DDPM code and the autoencoders of latent diffusion share."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from pellucid.checkpoints.kinds import Shapes, Weight

INSIDE = {
    "temb_proj": "time_emb_proj",
    "nin_shortcut": "conv_shortcut",
    "norm": "group_norm",
    "q": "to_q",
    "k": "to_k",
    "v": "to_v",
    "proj_out": "to_out.0",
}
MIDDLE = {
    "mid.block_1": "mid_block.resnets.0",
    "mid.attn_1": "mid_block.attentions.0",
    "mid.block_2": "mid_block.resnets.1",
}
BLOCK = re.compile(r"^(?P<way>down|up)\.(?P<level>\d+)\.(?P<part>block|attn|downsample|upsample)\.(?P<rest>.+)$")


def levels(shapes: Shapes, way: str) -> int:
    """How many levels `down.l...` or `up.l...` there are. Raises `ValueError` where there is none."""
    found = {int(key[len(way) :].split(".")[0]) for key in shapes if key.startswith(way)}
    if not found or max(found) + 1 != len(found):
        raise ValueError(f"its levels {way}* are not numbered through")
    return len(found)


def blocks(shapes: Shapes, level: str) -> int:
    """How many residual blocks a level has."""
    return len({key[len(level) :].split(".")[2] for key in shapes if key.startswith(f"{level}.block.")})


def renamed(key: str, count: int, modules: Mapping[str, str]) -> tuple[str, bool] | None:
    """(diffusers' name, whether it is within an attention) of a key; None for a key of none of these blocks.

    Args:
        key: the original name.
        count: of levels; they go down again in the order in which diffusers builds them.
        modules: names outside of the blocks.
    """
    module, _, kind = key.rpartition(".")
    if module in modules:
        return f"{modules[module]}.{kind}", False
    for original, ours in MIDDLE.items():
        if module.startswith(f"{original}."):
            inner = module.removeprefix(f"{original}.")
            return f"{ours}.{_inner(inner, 'attn' in original)}.{kind}", "attn" in original
    match = BLOCK.match(key)
    if match is None:
        return None
    level = int(match["level"]) if match["way"] == "down" else count - 1 - int(match["level"])
    begin, rest = f"{match['way']}_blocks.{level}", match["rest"]
    if match["part"] in ("downsample", "upsample"):
        return f"{begin}.{match['part']}rs.0.{rest}", False
    number, _, inside = rest.partition(".")
    inner, _, kind = inside.rpartition(".")
    attention = match["part"] == "attn"
    return f"{begin}.{'attentions' if attention else 'resnets'}.{number}.{_inner(inner, attention)}.{kind}", attention


def _inner(name: str, attention: bool) -> str:
    return INSIDE.get(name, name) if attention or name in ("temb_proj", "nin_shortcut") else name


def weight(source: str, attention: bool) -> Weight:
    """The weight itself, or within an attention a convolution of size 1 as a matrix."""
    return Weight(source, squeezed) if attention else Weight(source)


def squeezed(tensor: Tensor) -> Tensor:
    """(C, C, 1, 1) -> (C, C); anything of one dimension as it is."""
    return tensor.reshape(tensor.shape[:2]) if tensor.ndim > 1 else tensor
