"""Unconditional latent diffusion models (Rombach et al., 2022) in their training format: U-Net and autoencoder."""

from __future__ import annotations

from typing import Any

import torch

from pellucid.checkpoints import firststage, openai, unet2d
from pellucid.checkpoints.kinds import DIFFUSERS, Foreign, Kind, Option, Part, Plan, Shapes
from pellucid.errors import ConfigError, PriorError

UNET, FIRST, EMA = "model.diffusion_model.", "first_stage_model.", "model_ema."
# What a training file also holds, all of it derived from the schedule or of no use here.
BUFFERS = (
    *(
        "betas",
        "alphas_",
        "sqrt_",
        "log_one",
        "posterior_",
        "lvlb_weights",
        "logvar",
        "scale_factor",
        "cond_stage_model.",
    ),
    *("model_ema.", "first_stage_model.loss.", "loss.", "cond_ids"),
)


def _within(shapes: Shapes, prefix: str) -> dict[str, tuple[int, ...]]:
    return {key.removeprefix(prefix): shape for key, shape in shapes.items() if key.startswith(prefix)}


def _recognise(shapes: Shapes) -> bool:
    return openai.is_unet(_within(shapes, UNET))


def averaged_name(key: str) -> str:
    """The name of a U-Net's weight among the averaged ones, which have no dots; it cannot be undone."""
    return EMA + f"diffusion_model.{key}".replace(".", "")


def _plan(foreign: Foreign) -> Plan:
    shapes, options = foreign.shapes, foreign.options
    unet, first = _within(shapes, UNET), _within(shapes, FIRST)
    if any(key.startswith("cond_stage_model.") for key in shapes):
        raise ValueError(
            "it is conditional on text or classes; only unconditional latent models are read from this format"
        )
    if not firststage.is_first_stage(first):
        raise ValueError("it holds no autoencoder (first_stage_model.*)")
    heads = int(options["head_channels"])
    tensors = dict(foreign.tensors)
    named = {key: averaged_name(key) for key in unet}
    present = all(name in shapes for name in named.values())
    if foreign.averaged and not present:
        raise ConfigError(f"{foreign.path} holds no averaged weights; leave out --ema")
    averaged = present if foreign.averaged is None else foreign.averaged
    if averaged:
        tensors |= {UNET + key: foreign.tensors[name] for key, name in named.items()}
    config = openai.configuration(unet, heads)
    if config["in_channels"] != config["out_channels"]:
        raise ValueError(f"its network takes {config['in_channels']} channels and gives {config['out_channels']}")
    scale = _number(foreign, "scale_factor", 1.0)
    parts = (
        Part(config, openai.weights(unet, heads, prefix=UNET), unet2d.build, "unet", DIFFUSERS),
        firststage.part({k: s for k, s in first.items() if not k.startswith("loss.")}, scale, "vqvae", FIRST),
    )
    card = {"range": "pictures in [0, 1] are mapped to [-1, 1] before they are encoded", "averaged": averaged}
    scheduler = {**unet2d.scheduler(foreign, learned_variance=False), "clip_sample": False, **_betas(foreign)}
    return Plan(parts, card, BUFFERS, {"scheduler/scheduler_config.json": scheduler}, tensors)


def _number(foreign: Foreign, key: str, default: float) -> float:
    stored = foreign.tensors.get(key)
    return float(stored.read()) if stored is not None and stored.shape == () else default


def _betas(foreign: Foreign) -> dict[str, Any]:
    """The betas of the file itself where they are not those of the schedule that the options say."""
    stored = foreign.tensors.get("betas")
    if stored is None or len(stored.shape) != 1 or not 0 < stored.shape[0] <= 100_000:
        return {}
    from pellucid.checkpoints.diffusers import schedule

    betas = stored.read().double()
    if not ((betas > 0) & (betas < 1)).all():
        raise PriorError(f"{foreign.path} is damaged: its betas do not lie between 0 and 1")
    usual: dict[str, Any] = {**unet2d.BETAS[foreign.options["schedule"]], "num_train_timesteps": len(betas)}
    t = torch.arange(1.0, len(betas) + 1, dtype=torch.float64)
    wanted = (1 - betas).log().cumsum(0)
    if torch.allclose(schedule(usual).log_abar(t), wanted, rtol=1e-4, atol=1e-6):
        return {"num_train_timesteps": len(betas)}
    return {"num_train_timesteps": len(betas), "trained_betas": betas.tolist()}


KINDS = (
    Kind(
        name="ldm",
        summary="an unconditional latent diffusion model with its autoencoder",
        role="prior",
        recognise=_recognise,
        plan=_plan,
        load=unet2d.load,
        published=tuple(
            (f"{name}.zip (model.ckpt in it)", f"https://ommer-lab.com/files/latent-diffusion/{name}.zip")
            for name in ("celeba", "ffhq", "lsun_bedrooms")
        ),
        licence="latent-diffusion's code is MIT; for the weights see there",
        options={
            "head_channels": Option(32, "channels of an attention head (num_head_channels); 0 is one head"),
            "schedule": Option("scaled_linear", unet2d.SCHEDULE["schedule"].summary),
            "steps": unet2d.SCHEDULE["steps"],
        },
    ),
)
