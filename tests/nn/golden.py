"""Recorded networks: their original state dicts, options, inputs and outputs; and the keys of the published ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.golden.data import GOLDEN

EXACT = 2e-5  # of the largest output


def recorded(name: str) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """(state dict in float32 under original names, inputs and outputs, constructor options); skips if not there."""
    from safetensors import safe_open

    path = GOLDEN / f"{name}.safetensors"
    if not path.exists():
        pytest.skip(f"no {path.name} here")
    with safe_open(path, framework="pt") as file:
        every = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        options = json.loads((file.metadata() or {}).get("kwargs", "{}"))
    weights = {key[3:]: _upcast(value) for key, value in every.items() if key.startswith("sd.")}
    return weights, {key[3:]: _upcast(value) for key, value in every.items() if key.startswith("io.")}, options


def _upcast(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def published(name: str) -> dict[str, tuple[int, ...]]:
    """{key: shape} of a published file; skips if not there."""
    path = GOLDEN / "keymaps" / f"{name}.json"
    if not path.exists():
        pytest.skip(f"no {path.name} here")
    shapes: dict[str, list[int]] = json.loads(path.read_text())["original_shapes"]
    return {key: tuple(shape) for key, shape in shapes.items()}


def relative(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, as a share of the largest entry."""
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max() / wanted.abs().max())


def no_numbers(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Tensors of those shapes on the meta device."""
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
