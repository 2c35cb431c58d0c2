"""Priors from diffusers folders: a `UNet2DModel`, alone or in an unconditional pipeline with its scheduler."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from pellucid.errors import PriorError
from pellucid.prior.diffusion import DiffusionPrior, Prediction
from pellucid.process import DiscreteVP

PREDICTIONS: dict[str, Prediction] = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}


def load_folder(folder: Path, device: str = "cpu", autocast: torch.dtype | None = None) -> DiffusionPrior:
    """A pixel prior from a diffusers folder; safetensors only.

    Takes `folder/config.json` of a UNet2DModel, or `folder/unet/config.json` with `folder/scheduler/`. Without a
    scheduler the linear schedule of 1000 betas and eps-prediction are assumed, as UNet2DModel's own examples do.

    Raises:
        PriorError: the folder is no UNet2DModel, its weights are no safetensors, or its schedule is unknown.
    """
    try:
        from diffusers import UNet2DModel
    except ImportError as error:
        raise PriorError("diffusers folders need the extra: pip install 'pellucid[diffusers]'") from error
    unet = folder / "unet" if (folder / "unet").is_dir() else folder
    config = _json(unet / "config.json")
    if config.get("_class_name") != "UNet2DModel":
        raise PriorError(f"{unet} holds a {config.get('_class_name')}, not a UNet2DModel")
    try:
        model = UNet2DModel.from_pretrained(str(unet), use_safetensors=True, local_files_only=True)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, RuntimeError) as error:
        raise PriorError(f"{unet} cannot be loaded: {error}") from error
    model = model.eval().requires_grad_(False).to(device=device, memory_format=torch.channels_last)
    scheduler = _scheduler(folder)
    return DiffusionPrior(
        _Sample(model),
        schedule(scheduler),
        _prediction(scheduler),
        learned_variance=config.get("out_channels") == 2 * config.get("in_channels", 0),
        multiple=2 ** (len(config["block_out_channels"]) - 1),
        channels=config["in_channels"],
        autocast=autocast,
    )


class _Sample(torch.nn.Module):
    """A diffusers model as a function of (x, timestep)."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.model(x, timestep, return_dict=False)[0]
        return out


def schedule(config: dict[str, Any]) -> DiscreteVP:
    """The process of a diffusers scheduler configuration. Raises `PriorError` for an unknown beta_schedule."""
    if betas := config.get("trained_betas"):
        return DiscreteVP(torch.tensor(betas, dtype=torch.float64))
    steps = int(config.get("num_train_timesteps", 1000))
    first, last = float(config.get("beta_start", 1e-4)), float(config.get("beta_end", 0.02))
    kind = config.get("beta_schedule", "linear")
    if kind == "linear":
        return DiscreteVP.linear(steps, first, last)
    if kind == "scaled_linear":
        return DiscreteVP.scaled_linear(steps, first, last)
    if kind == "squaredcos_cap_v2":
        return DiscreteVP.cosine(steps)
    raise PriorError(
        f"the scheduler's beta_schedule {kind!r} is unknown; known are linear, scaled_linear, squaredcos_cap_v2"
    )


def _prediction(config: dict[str, Any]) -> Prediction:
    kind = config.get("prediction_type", "epsilon")
    if kind not in PREDICTIONS:
        raise PriorError(f"the scheduler's prediction_type {kind!r} is unknown; known are {', '.join(PREDICTIONS)}")
    return PREDICTIONS[kind]


def _scheduler(folder: Path) -> dict[str, Any]:
    for path in (folder / "scheduler" / "scheduler_config.json", folder / "scheduler_config.json"):
        if path.is_file():
            return _json(path)
    return {}


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise PriorError(f"cannot read {path}: {error}") from error
    if not isinstance(data, dict):
        raise PriorError(f"{path} is no configuration")
    return data
