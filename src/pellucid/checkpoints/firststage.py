"""Autoencoders of latent diffusion (Rombach et al., 2022): the VQ and KL first stages, as VQModel and AutoencoderKL."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pellucid.checkpoints import resnets
from pellucid.checkpoints.kinds import DIFFUSERS, Foreign, Kind, Option, Part, Plan, Shapes
from pellucid.errors import PriorError

OUTSIDE = ("quant_conv", "post_quant_conv", "quantize.embedding")


def is_first_stage(shapes: Shapes) -> bool:
    """Whether these are the names of an encoder and a decoder with what is between them."""
    return all(
        key in shapes
        for key in ("encoder.conv_in.weight", "decoder.conv_in.weight", "quant_conv.weight", "post_quant_conv.weight")
    )


def build(config: dict[str, Any]) -> nn.Module:
    """A VQModel where the configuration has a code book, else an AutoencoderKL. `PriorError` without diffusers."""
    try:
        from diffusers import AutoencoderKL, VQModel
    except ImportError as error:
        raise PriorError("this kind needs the extra: pip install 'pellucid[diffusers]'") from error
    kind: Any = VQModel if "num_vq_embeddings" in config else AutoencoderKL
    module: nn.Module = kind(**config)
    return module


def part(shapes: Shapes, scale: float, folder: str = ".", prefix: str = "") -> Part:
    """The first stage as a part.

    Args:
        shapes: under the original names, without the prefix.
        scale: z = scale * encode(x).
        folder, prefix: of the part, and of the names in the file.

    Raises:
        ValueError: its structure is not one that diffusers has.
    """
    quantised = "quantize.embedding.weight" in shapes
    encoder = {key.removeprefix("encoder."): shape for key, shape in shapes.items() if key.startswith("encoder.")}
    decoder = {key.removeprefix("decoder."): shape for key, shape in shapes.items() if key.startswith("decoder.")}
    levels = resnets.levels(encoder, "down.")
    if resnets.levels(decoder, "up.") != levels:
        raise ValueError("its encoder and decoder have different numbers of levels")
    attention = [f"down.{level}.attn.0.norm.weight" in encoder for level in range(levels)]
    config: dict[str, Any] = {
        "_class_name": "VQModel" if quantised else "AutoencoderKL",
        "in_channels": encoder["conv_in.weight"][1],
        "out_channels": decoder["conv_out.weight"][0],
        "down_block_types": ["AttnDownEncoderBlock2D" if a else "DownEncoderBlock2D" for a in attention],
        "up_block_types": ["AttnUpDecoderBlock2D" if a else "UpDecoderBlock2D" for a in attention[::-1]],
        "block_out_channels": [encoder[f"down.{level}.block.0.conv1.weight"][0] for level in range(levels)],
        "layers_per_block": resnets.blocks(encoder, "down.0"),
        "act_fn": "silu",
        "latent_channels": decoder["conv_in.weight"][1],
        "sample_size": 256,
        "norm_num_groups": 32,
        "scaling_factor": scale,
        "mid_block_add_attention": "mid.attn_1.norm.weight" in encoder,
    }
    if quantised:
        codes, width = shapes["quantize.embedding.weight"]
        config |= {"num_vq_embeddings": codes, "vq_embed_dim": width}
    elif shapes["post_quant_conv.weight"][:2] != (config["latent_channels"],) * 2:
        raise ValueError("its latents have another width than its decoder takes, which AutoencoderKL has not")
    weights = {}
    for side, own in (("encoder", encoder), ("decoder", decoder)):
        modules = {"conv_in": "conv_in", "norm_out": "conv_norm_out", "conv_out": "conv_out"}
        for key in own:
            if name := resnets.renamed(key, levels, modules):
                weights[f"{side}.{name[0]}"] = resnets.weight(f"{prefix}{side}.{key}", name[1])
    weights |= {key: resnets.weight(prefix + key, False) for key in shapes if key.startswith(OUTSIDE)}
    return Part(config, weights, build, folder, DIFFUSERS)


def _recognise(shapes: Shapes) -> bool:
    return is_first_stage(shapes)


def _plan(foreign: Foreign) -> Plan:
    made = part(foreign.shapes, float(foreign.options["scaling_factor"]))
    return Plan((made,), {"range": "pictures in [0, 1] are mapped to [-1, 1]"}, ignored=("loss.", "model_ema."))


def _load(folder: Path, card: Mapping[str, Any], device: str, autocast: torch.dtype | None) -> Any:
    from pellucid.checkpoints.autoencoders import load_autoencoder

    return load_autoencoder(folder, device, autocast)


KINDS = (
    Kind(
        name="ldm-autoencoder",
        summary="the autoencoder of a latent diffusion model (VQ or KL)",
        role="autoencoder",
        recognise=_recognise,
        plan=_plan,
        load=_load,
        published=(("vq-f4.zip (model.ckpt in it)", "https://ommer-lab.com/files/latent-diffusion/vq-f4.zip"),),
        licence="latent-diffusion's code is MIT; for the weights see there",
        options={"scaling_factor": Option(1.0, "latents are this times what the encoder gives")},
    ),
)
