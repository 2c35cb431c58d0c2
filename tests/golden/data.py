"""Where the recorded results of the published codes lie, and how they are read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

SHARED = Path(os.environ.get("PELLUCID_SHARED", Path(__file__).parents[3] / "shared"))
GOLDEN = SHARED / "golden"


def load(name: str) -> dict[str, np.ndarray]:
    """The arrays of golden/`name`.npz; skips the test where the file is not there."""
    path = GOLDEN / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"no {path.name} here")
    with np.load(path, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


def tensor(array: np.ndarray, dtype: torch.dtype = torch.float64) -> Tensor:
    """A float64 copy."""
    return torch.from_numpy(array.copy()).to(dtype)


def meta(arrays: dict[str, np.ndarray]) -> dict[str, object]:
    """The options that the trace was made with."""
    options: dict[str, object] = json.loads(str(arrays["meta"]))
    return options


def draws(arrays: dict[str, np.ndarray]) -> list[Tensor]:
    """Every Gaussian draw, in call order."""
    names = sorted(key for key in arrays if key.startswith("noise_") and key != "noise_kinds")
    return [tensor(arrays[name]) for name in names]


def worst(found: Tensor, wanted: np.ndarray) -> float:
    """The largest difference, in units of the largest entry where that exceeds 1."""
    return float((found - tensor(wanted)).abs().max()) / max(1.0, float(np.abs(wanted).max(initial=0)))
