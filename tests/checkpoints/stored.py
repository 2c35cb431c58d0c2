"""The recorded networks: weights under their original names, inputs and outputs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pellucid.checkpoints.convert import check, converted, planned, recognise
from pellucid.checkpoints.kinds import Foreign, Stored, get
from tests.golden.data import GOLDEN


@dataclass(frozen=True)
class Recorded:
    weights: dict[str, Tensor]
    io: dict[str, Tensor]
    options: dict[str, Any]


def recorded(name: str) -> Recorded:
    """golden/`name`.safetensors; skips the test where it is not there."""
    path = GOLDEN / f"{name}.safetensors"
    if not path.exists():
        pytest.skip(f"no {path.name} here")
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        meta = file.metadata() or {}
    options = json.loads(meta.get("kwargs", "{}"))
    weights = {k[3:]: v.float() if v.is_floating_point() else v for k, v in found.items() if k.startswith("sd.")}
    return Recorded(weights, {k[3:]: v for k, v in found.items() if k.startswith("io.")}, options)


def keymap(name: str) -> dict[str, Any]:
    """golden/keymaps/`name`.json; skips the test where it is not there."""
    path = GOLDEN / "keymaps" / f"{name}.json"
    if not path.exists():
        pytest.skip(f"no {path.name} here")
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def described(shapes: dict[str, Any]) -> dict[str, Stored]:
    """A state dict without numbers."""
    return {
        key: Stored(tuple(shape), torch.float32, lambda s=tuple(shape): torch.ones(s)) for key, shape in shapes.items()
    }


def module_of(weights: dict[str, Tensor], kind: str, **options: Any) -> nn.Module:
    """The converted network, its kind recognised, keys and shapes compared strictly."""
    chosen = get(kind)
    foreign = Foreign.of(weights, tree=weights, options=chosen.settings(options))
    assert recognise(foreign.shapes).name == kind
    plan = planned(chosen, foreign)
    check(chosen, plan, foreign)
    (part,) = plan.parts
    module = part.build({key: value for key, value in part.config.items() if not key.startswith("_")})
    module.load_state_dict({key: converted(plan, foreign, part, key) for key in part.weights}, strict=True)
    return module.eval().requires_grad_(False)


def relative(found: Tensor, wanted: Tensor) -> float:
    """Largest difference over the largest entry."""
    return float((found - wanted).abs().max() / wanted.abs().max())
