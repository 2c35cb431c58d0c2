"""DRUNet: the published denoisers of plug-and-play restoration, grey and colour."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pellucid.checkpoints.folder import read_part
from pellucid.checkpoints.kinds import Foreign, Kind, Part, Plan, Shapes, same_names
from pellucid.nn.drunet import STRONGEST, DRUNet
from pellucid.nn.picture_denoiser import PictureDenoiser
from pellucid.prior.diffusion import DiffusionPrior


def recognise(shapes: Shapes) -> bool:
    """Whether these are the keys of a DRUNet."""
    return {"m_head.weight", "m_body.0.res.0.weight", "m_up3.0.weight", "m_tail.weight"} <= set(shapes)


def configuration(shapes: Shapes) -> dict[str, Any]:
    """DRUNet's arguments from the shapes of its weights. Raises `KeyError` where one that it always has is missing."""
    first, shown = shapes["m_head.weight"][:2]
    blocks = sum(key.startswith("m_body.") and key.endswith(".res.0.weight") for key in shapes)
    widths = [first, *(shapes[f"m_down{level}.{blocks}.weight"][0] for level in (1, 2, 3))]
    return {"channels": shown - 1, "widths": widths, "blocks": blocks}


def plan(foreign: Foreign) -> Plan:
    """The configuration and the weights."""
    config = configuration(foreign.shapes)
    card = {"range": [0, 1], "channels": config["channels"], "noise_level": [0, STRONGEST]}
    return Plan((Part(config, same_names(foreign), build),), card)


def build(config: dict[str, Any]) -> DRUNet:
    """The network of a configuration."""
    return DRUNet(**config)


def load(folder: Path, card: Mapping[str, Any], device: str, autocast: torch.dtype | None) -> Any:
    """The denoiser as a prior; noise beyond 50/255 is told to it as 50/255."""
    network: Any = read_part(folder, build, device)
    denoiser = PictureDenoiser(network, STRONGEST)
    channels = network.config["channels"]
    return DiffusionPrior(denoiser, predicts="denoiser", channels=channels, autocast=autocast, plug_and_play="weak")


def load_drunet(folder: Path | str, device: str = "cpu") -> DRUNet:
    """The DRUNet of an imported folder, on pictures in [0, 1]. Raises `PriorError`."""
    network: Any = read_part(Path(folder), build, device)
    return network


KINDS = (
    Kind(
        "drunet",
        "DRUNet, a denoiser for noise up to 50/255, for plug-and-play methods",
        "prior",
        recognise,
        plan,
        load,
        published=tuple(
            (f"drunet_{colour}.pth", f"https://github.com/cszn/KAIR/releases/download/v1.0/drunet_{colour}.pth")
            for colour in ("color", "gray")
        ),
        licence="MIT",
        method="pnp-admm",
    ),
)
