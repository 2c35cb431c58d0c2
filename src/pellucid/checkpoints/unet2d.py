"""What the kinds that become a diffusers `UNet2DModel` share: building it, its scheduler, its folder as a prior."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pellucid.checkpoints.kinds import Foreign, Option
from pellucid.errors import ConfigError, PriorError

SCHEDULE = {
    "schedule": Option("linear", "the betas: linear (1e-4 to 0.02), scaled_linear (0.0015 to 0.0195) or cosine"),
    "steps": Option(1000, "number of betas"),
}
BETAS: dict[str, dict[str, Any]] = {
    "linear": {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
    "scaled_linear": {"beta_schedule": "scaled_linear", "beta_start": 0.0015, "beta_end": 0.0195},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
}


def build(config: dict[str, Any]) -> nn.Module:
    """A UNet2DModel. Raises `PriorError` without diffusers."""
    try:
        from diffusers import UNet2DModel
    except ImportError as error:
        raise PriorError("this kind needs the extra: pip install 'pellucid[diffusers]'") from error
    kind: Any = UNet2DModel
    module: nn.Module = kind(**config)
    return module


def scheduler(foreign: Foreign, learned_variance: bool) -> dict[str, Any]:
    """scheduler_config.json of a variance-preserving process with the kind's options `schedule` and `steps`.

    Raises:
        ConfigError: the schedule is unknown or has no steps.
    """
    name, steps = foreign.options["schedule"], int(foreign.options["steps"])
    if name not in BETAS or steps < 1:
        raise ConfigError(f"schedule must be {', '.join(BETAS)}, with at least one step; not {name!r}, {steps}")
    return {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": steps,
        **BETAS[name],
        "prediction_type": "epsilon",
        "variance_type": "learned_range" if learned_variance else "fixed_small",
        "clip_sample": True,
        "timestep_spacing": "linspace",
    }


def load(folder: Path, card: Mapping[str, Any], device: str, autocast: torch.dtype | None) -> Any:
    """The folder as a prior."""
    from pellucid.checkpoints.diffusers import load_folder

    return load_folder(folder, device, autocast, label=card.get("label"))
