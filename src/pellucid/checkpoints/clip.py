"""OpenAI's CLIP with a vision transformer (Radford et al., 2021), as the CLIPModel of transformers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.checkpoints.folder import read_part
from pellucid.checkpoints.kinds import Foreign, Kind, Option, Part, Plan, Shapes, Weight
from pellucid.errors import PriorError

MODULES = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "logit_scale": "logit_scale",
}
NORMS = {
    "visual.ln_pre": "vision_model.pre_layrnorm",  # so it is spelled there
    "visual.ln_post": "vision_model.post_layernorm",
    "ln_final": "text_model.final_layer_norm",
}
PROJECTIONS = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
LAYERS = {
    "visual.transformer.resblocks.": "vision_model.encoder.layers.",
    "transformer.resblocks.": "text_model.encoder.layers.",
}
LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}


def _recognise(shapes: Shapes) -> bool:
    return "visual.class_embedding" in shapes and "text_projection" in shapes and "token_embedding.weight" in shapes


def _tower(shapes: Shapes, prefix: str, head_channels: int) -> dict[str, Any]:
    numbers = {int(key[len(prefix) :].split(".")[0]) for key in shapes if key.startswith(prefix)}
    inner, width = shapes[f"{prefix}0.mlp.c_fc.weight"]
    if width % head_channels:
        raise ValueError(f"its width of {width} is no multiple of {head_channels} channels a head")
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": len(numbers),
        "num_attention_heads": width // head_channels,
        "hidden_act": "quick_gelu",
        "projection_dim": shapes["text_projection"][1],
    }


def _configuration(shapes: Shapes, head_channels: int) -> dict[str, Any]:
    _, _, patch, _ = shapes["visual.conv1.weight"]
    places = shapes["visual.positional_embedding"][0] - 1
    side = round(places**0.5)
    if side * side != places:
        raise ValueError(f"its {places} patches make no square")
    text, vision = (_tower(shapes, prefix, head_channels) for prefix in reversed(LAYERS))
    text |= {
        "vocab_size": shapes["token_embedding.weight"][0],
        "max_position_embeddings": shapes["positional_embedding"][0],
        # The original takes the place of the largest token for the text's end; 2 is how CLIPModel spells that rule.
        "eos_token_id": 2,
        "bos_token_id": 0,
        "pad_token_id": 1,
    }
    vision |= {"patch_size": patch, "image_size": patch * side}
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": shapes["text_projection"][1],
        "text_config": text,
        "vision_config": vision,
    }


def _weights(shapes: Shapes) -> Iterator[tuple[str, Weight]]:
    for key in shapes:
        module, _, kind = key.rpartition(".")
        if key in MODULES:
            yield MODULES[key], Weight(key)
        elif key in PROJECTIONS:
            yield PROJECTIONS[key], Weight(key, _transposed)
        elif module in NORMS:
            yield f"{NORMS[module]}.{kind}", Weight(key)
        for prefix, ours in LAYERS.items():
            if key.startswith(prefix):
                number, _, inner = key.removeprefix(prefix).partition(".")
                owner, _, kind = inner.rpartition(".")
                if owner in LAYER:
                    yield f"{ours}{number}.{LAYER[owner]}.{kind}", Weight(key)
                elif kind in ("in_proj_weight", "in_proj_bias"):
                    for index, name in enumerate("qkv"):
                        part = f"{ours}{number}.self_attn.{name}_proj.{kind.removeprefix('in_proj_')}"
                        yield part, Weight(key, partial(_third, index=index))


def _transposed(matrix: Tensor) -> Tensor:
    return matrix.t()


def _third(rows: Tensor, index: int) -> Tensor:
    return rows.chunk(3)[index]


def _classes() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise PriorError("this kind needs the extra: pip install 'pellucid[retrieval]'") from error
    return transformers


def _build(config: dict[str, Any]) -> nn.Module:
    transformers = _classes()
    module: nn.Module = transformers.CLIPModel(transformers.CLIPConfig.from_dict(dict(config)))
    return module


def _plan(foreign: Foreign) -> Plan:
    shapes = foreign.shapes
    config = _configuration(shapes, int(foreign.options["head_channels"]))
    # Files that were traced also hold three whole numbers about the input, and the mask that hides later words.
    ignored = ["input_resolution", "context_length", "vocab_size", *(k for k in shapes if k.endswith("attn_mask"))]
    return Plan((Part(config, dict(_weights(shapes)), _build),), {"activation": "quick_gelu"}, ignored)


def _load(folder: Path, card: Mapping[str, Any], device: str, autocast: torch.dtype | None) -> nn.Module:
    return read_part(folder, _build, device)


KINDS = (
    Kind(
        name="clip",
        summary="OpenAI's CLIP with a vision transformer",
        role="embedding",
        recognise=_recognise,
        plan=_plan,
        load=_load,
        published=(("ViT-B-32.pt and others", "https://github.com/openai/CLIP"),),
        licence="MIT",
        options={"head_channels": Option(64, "channels of an attention head")},
    ),
)
