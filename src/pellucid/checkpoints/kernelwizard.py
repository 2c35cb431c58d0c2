"""BKSE's KernelWizard: the network behind the nonlinear blur of DPS, ReSample and Flash-Diffusion."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pellucid.checkpoints.folder import card_of, read_part
from pellucid.checkpoints.kinds import Foreign, Kind, Part, Plan, Shapes, same_names
from pellucid.errors import PriorError
from pellucid.nn.kernelwizard import KernelWizard
from pellucid.operators.bkse import EncodedBlur

FIRST = "feature_extractor.0.weight"
FOUND = "kernel_extractor.model.1.weight"
CODE = "adapter.model.submodule.submodule.submodule.submodule.down.1.weight"
SIDE = 256  # of the published network's pictures


def recognise(shapes: Shapes) -> bool:
    """Whether these are the keys of a KernelWizard."""
    return {FIRST, FOUND, CODE} <= set(shapes)


def configuration(shapes: Shapes) -> dict[str, Any]:
    """KernelWizard's arguments from the shapes of its weights. Raises `KeyError` where one is missing."""

    def count(pattern: str) -> int:
        return sum(re.fullmatch(pattern, key) is not None for key in shapes)

    width, channels = shapes[FIRST][:2]
    code = shapes[CODE][0]
    return {
        "channels": channels,
        "width": width,
        "front": count(r"feature_extractor\.\d+\.conv1\.weight"),
        "back": count(r"recon_trunk\.\d+\.conv1\.weight"),
        "code": code,
        "blocks": count(r"kernel_extractor\.model\.\d+\.conv_block\.1\.weight"),
        "pair": shapes[FOUND][1] == 2 * width,
        "variational": shapes["kernel_extractor.model.16.weight"][0] != code,
    }


def plan(foreign: Foreign) -> Plan:
    """The configuration and the weights."""
    config = configuration(foreign.shapes)
    card = {"range": [0, 1], "channels": config["channels"]}
    return Plan((Part(config, same_names(foreign), build),), card)


def build(config: dict[str, Any]) -> KernelWizard:
    """The network of a configuration."""
    return KernelWizard(**config)


def load(folder: Path, card: Mapping[str, Any], device: str, autocast: torch.dtype | None) -> Any:
    """The blur of pictures of 256 x 256 with the code of seed 0; for others see `load_kernelwizard`."""
    network: Any = read_part(folder, build, device)
    return EncodedBlur((network.config["channels"], SIDE, SIDE), network)


def load_kernelwizard(folder: Path | str, device: str = "cpu") -> KernelWizard:
    """The network of an imported folder, for `EncodedBlur(image_shape, network, seed)`.

    Raises:
        PriorError: the folder is of another kind, or damaged.
    """
    if (kind := card_of(Path(folder))["checkpoint"]) != "kernelwizard":
        raise PriorError(f"{folder} holds a checkpoint of the kind {kind}, not a KernelWizard")
    network: Any = read_part(Path(folder), build, device)
    return network


KINDS = (
    Kind(
        "kernelwizard",
        "BKSE's KernelWizard, a nonlinear blur",
        "operator",
        recognise,
        plan,
        load,
        published=(("GOPRO_wVAE.pth", "https://github.com/VinAIResearch/blur-kernel-space-exploring"),),
        licence="BSD-style, of VinAI",
    ),
)
