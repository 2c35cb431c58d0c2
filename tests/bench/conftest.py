"""A few small pictures, a network of a few weights in a folder of its own, and plans on both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from pellucid.bench.plan import Plan
from pellucid.nn.edm import EDMDenoiser
from pellucid.nn.unet import UNet

NETWORK = {"channels": 3, "widths": [8, 8], "blocks": [1, 1], "unshuffle": 2, "heads": 1, "embedding": 8}


@pytest.fixture(scope="session")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prior's folder; its network has random weights."""
    folder = tmp_path_factory.mktemp("prior")
    torch.manual_seed(0)
    network = UNet(**NETWORK)  # type: ignore[arg-type]
    torch.nn.init.normal_(network.head.weight, std=0.05)  # it begins at zero
    denoiser = EDMDenoiser(network, 0.5)
    save_file(denoiser.state_dict(), folder / "model.safetensors")
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    card = {"name": "tiny", "network": NETWORK, "sigma_data": 0.5, "sha256": sha256}
    (folder / "card.json").write_text(json.dumps(card))
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five smooth pictures of 20 x 24 pixels, named a to e."""
    pytest.importorskip("pyarrow")
    folder = tmp_path_factory.mktemp("photos")
    y, x = np.mgrid[:20, :24] / 24
    for index, name in enumerate("abcde"):
        planes = [0.5 + 0.4 * np.sin((4 + index) * x + k) * np.cos(3 * y + index) for k in range(3)]
        Image.fromarray((np.stack(planes, 2) * 255).astype(np.uint8)).save(folder / f"{name}.png")
    return folder


Planner = Callable[..., dict[str, Any]]


@pytest.fixture
def raw(photos: Path, prior: Path) -> Planner:
    """A plan as its file has it; keyword arguments replace parts."""

    def make(**changes: Any) -> dict[str, Any]:
        return {
            "metrics": ["psnr"],
            "batch": 2,
            "data": {"path": str(photos), "size": 16, "count": 3},
            "prior": {"names": [str(prior)], "precision": "float32", "device": "cpu"},
            "task": [{"name": "sr", "operator": "bicubic:factor=4"}],
            "method": [{"name": "ddnm", "nfe": 3}, {"name": "pinv", "label": "A+y"}],
            **changes,
        }

    return make


@pytest.fixture
def plan(raw: Planner) -> Callable[..., Plan]:
    """The same as a plan."""
    return lambda **changes: Plan.of(raw(**changes))


def write_plan(raw: dict[str, Any], path: Path) -> Path:
    """Enough of TOML for these plans."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in raw.items() if not isinstance(value, dict | list)]
    lines += [f"{key} = {json.dumps(raw[key])}" for key in ("metrics", "seeds") if key in raw]
    for name in ("data", "prior"):
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in raw[name].items())]
    for name in ("task", "method"):
        for table in raw[name]:
            lines += [f"[[{name}]]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    path.write_text("\n".join(lines) + "\n")
    return path
