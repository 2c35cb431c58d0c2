"""DnCNN: the published denoisers (grey 15, 25, 50; grey and colour blind), batch normalisation merged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pellucid.checkpoints.folder import read_part
from pellucid.checkpoints.kinds import Foreign, Kind, Part, Plan, Shapes, same_names
from pellucid.nn.dncnn import DnCNN
from pellucid.nn.picture_denoiser import PictureDenoiser
from pellucid.prior.diffusion import DiffusionPrior

KEY = re.compile(r"model\.(\d{1,4})\.(weight|bias)")


def recognise(shapes: Shapes) -> bool:
    """Whether these are 3 x 3 convolutions at the even places, from a picture to a picture, and nothing else."""
    places = [KEY.fullmatch(key) for key in shapes]
    if not shapes or not all(places):
        return False
    numbers = sorted({int(place[1]) for place in places if place})
    convs = [shapes.get(f"model.{n}.weight", ()) for n in numbers]
    return (
        len(numbers) > 2
        and numbers == list(range(0, 2 * len(numbers), 2))
        and all(len(shape) == 4 and shape[2:] == (3, 3) for shape in convs)
        and convs[0][1] == convs[-1][0]
        and convs[0][1] <= 4
    )


def configuration(shapes: Shapes) -> dict[str, Any]:
    """DnCNN's arguments from the shapes of its weights. Raises `KeyError` where the first one is missing."""
    width, channels = shapes["model.0.weight"][:2]
    return {"channels": channels, "width": width, "depth": sum(key.endswith(".weight") for key in shapes)}


def plan(foreign: Foreign) -> Plan:
    """The configuration and the weights."""
    config = configuration(foreign.shapes)
    card = {"range": [0, 1], "channels": config["channels"], "noise_level": "blind"}
    return Plan((Part(config, same_names(foreign), build),), card)


def build(config: dict[str, Any]) -> DnCNN:
    """The network of a configuration."""
    return DnCNN(**config)


def load(folder: Path, card: Mapping[str, Any], device: str, autocast: torch.dtype | None) -> Any:
    """The denoiser as a prior for plug-and-play methods; it removes the noise that it finds, whatever it is told."""
    network: Any = read_part(folder, build, device)
    denoiser = PictureDenoiser(network, None)
    channels = network.config["channels"]
    return DiffusionPrior(denoiser, predicts="denoiser", channels=channels, autocast=autocast, plug_and_play="blind")


def load_dncnn(folder: Path | str, device: str = "cpu") -> DnCNN:
    """The DnCNN of an imported folder, on pictures in [0, 1]. Raises `PriorError`."""
    network: Any = read_part(Path(folder), build, device)
    return network


KINDS = (
    Kind(
        "dncnn",
        "DnCNN, a denoiser that is not told the noise level, for plug-and-play methods",
        "prior",
        recognise,
        plan,
        load,
        published=(("dncnn_*.pth", "https://github.com/cszn/KAIR/releases/tag/v1.0"),),
        licence="MIT",
        method="pnp-admm",
    ),
)
