"""OpenAI's guided-diffusion U-Nets in pixel space (Dhariwal and Nichol, 2021), also as trained on faces for DPS."""

from __future__ import annotations

from pellucid.checkpoints import openai, unet2d
from pellucid.checkpoints.kinds import DIFFUSERS, Foreign, Kind, Option, Part, Plan, Shapes
from pellucid.errors import ConfigError


def _recognise(shapes: Shapes) -> bool:
    return openai.is_unet(shapes)


def _plan(foreign: Foreign) -> Plan:
    shapes, options = foreign.shapes, foreign.options
    heads = int(options["head_channels"])
    config = openai.configuration(shapes, heads)
    learned = config["out_channels"] == 2 * config["in_channels"]
    classes, label = config.get("num_class_embeds"), options["label"]
    if label is not None and not (classes and isinstance(label, int) and 0 <= label < classes):
        raise ConfigError(
            f"label must be a class from 0 to {classes - 1}, not {label!r}"
            if classes
            else "this network has no classes"
        )
    weights = openai.weights(shapes, heads, bool(options["new_attention_order"]))
    card = {"range": "pictures in [0, 1] are mapped to [-1, 1]", "learned_variance": learned}
    if classes:
        card |= {"classes": classes, "label": label}
    return Plan(
        (Part(config, weights, unet2d.build, stem=DIFFUSERS),),
        card,
        files={"scheduler_config.json": unet2d.scheduler(foreign, learned)},
    )


KINDS = (
    Kind(
        name="adm",
        summary="an ADM U-Net in pixel space (guided-diffusion)",
        role="prior",
        recognise=_recognise,
        plan=_plan,
        load=unet2d.load,
        published=(
            (
                "256x256_diffusion_uncond.pt (ImageNet)",
                "https://openaipublic.blob.core.windows.net/diffusion/jul-2021/256x256_diffusion_uncond.pt",
            ),
            (
                "256x256_diffusion.pt (ImageNet, class-conditional)",
                "https://openaipublic.blob.core.windows.net/diffusion/jul-2021/256x256_diffusion.pt",
            ),
            ("ffhq_10m.pt (faces)", "https://github.com/DPS2022/diffusion-posterior-sampling"),
        ),
        licence="guided-diffusion's code is MIT; for the weights see there",
        options={
            "head_channels": Option(64, "channels of an attention head (num_head_channels); 0 is one head"),
            "new_attention_order": Option(False, "trained with use_new_attention_order"),
            "label": Option(None, "the class that the prior is of, for class-conditional networks"),
            **unet2d.SCHEDULE,
        },
    ),
)
