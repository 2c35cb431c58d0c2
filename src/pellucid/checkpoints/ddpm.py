"""The PyTorch port of DDPM's U-Net (Ho et al., 2020), as published for SDEdit: faces at 256 pixels."""

from __future__ import annotations

from pellucid.checkpoints import resnets, unet2d
from pellucid.checkpoints.kinds import DIFFUSERS, Foreign, Kind, Part, Plan, Shapes

MODULES = {
    "temb.dense.0": "time_embedding.linear_1",
    "temb.dense.1": "time_embedding.linear_2",
    "conv_in": "conv_in",
    "norm_out": "conv_norm_out",
    "conv_out": "conv_out",
}


def _recognise(shapes: Shapes) -> bool:
    return "temb.dense.0.weight" in shapes and "down.0.block.0.norm1.weight" in shapes


def _plan(foreign: Foreign) -> Plan:
    shapes = foreign.shapes
    levels = resnets.levels(shapes, "down.")
    if levels > 1 and "down.0.downsample.conv.weight" not in shapes:
        raise ValueError("its levels are joined by pooling, which UNet2DModel has not")
    attention = [f"down.{level}.attn.0.norm.weight" in shapes for level in range(levels)]
    config = {
        "_class_name": "UNet2DModel",
        "sample_size": None,
        "in_channels": shapes["conv_in.weight"][1],
        "out_channels": shapes["conv_out.weight"][0],
        "block_out_channels": [shapes[f"down.{level}.block.0.conv1.weight"][0] for level in range(levels)],
        "layers_per_block": resnets.blocks(shapes, "down.0"),
        "down_block_types": ["AttnDownBlock2D" if a else "DownBlock2D" for a in attention],
        "up_block_types": ["AttnUpBlock2D" if a else "UpBlock2D" for a in attention[::-1]],
        "time_embedding_type": "positional",
        "freq_shift": 1,
        "flip_sin_to_cos": False,
        "downsample_padding": 0,
        "act_fn": "silu",
        "norm_num_groups": 32,
        "norm_eps": 1e-6,
        "attention_head_dim": None,
    }
    found = {key: resnets.renamed(key, levels, MODULES) for key in shapes}
    weights = {name[0]: resnets.weight(key, name[1]) for key, name in found.items() if name}
    return Plan(
        (Part(config, weights, unet2d.build, stem=DIFFUSERS),),
        {"range": "pictures in [0, 1] are mapped to [-1, 1]", "learned_variance": False},
        ignored=("logvar",),
        files={"scheduler_config.json": unet2d.scheduler(foreign, learned_variance=False)},
    )


KINDS = (
    Kind(
        name="ddpm",
        summary="a DDPM U-Net in pixel space (the port used by SDEdit, DDRM, DDNM)",
        role="prior",
        recognise=_recognise,
        plan=_plan,
        load=unet2d.load,
        published=(
            (
                "celeba_hq.ckpt (faces)",
                "https://image-editing-test-12345.s3-us-west-2.amazonaws.com/checkpoints/celeba_hq.ckpt",
            ),
        ),
        licence="SDEdit's code is MIT; for the weights see there",
        options=unet2d.SCHEDULE,
    ),
)
