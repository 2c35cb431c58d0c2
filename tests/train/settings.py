"""Small trainings for the tests: four pictures, networks of a few thousand weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

UNET = {"widths": [8, 16], "blocks": [1, 1], "heads": 1, "embedding": 16}
VQ = {"block_out_channels": [8, 16], "num_vq_embeddings": 16, "norm_num_groups": 1}
SWINIR = {"width": 12, "depths": [2], "heads": 2, "window": 4}

NETWORKS: dict[str, dict[str, Any]] = {
    "prior": {"network": UNET},
    "autoencoder": {"network": VQ, "quantise_from": 2, "adversarial": 0.1},
    "denoiser": {"network": UNET},
    "dirac": {"network": UNET, "family": "exposure:least=0.2", "increment": 0.1},
    "supervised": {"network": SWINIR, "operator": "bicubic:factor=2", "noise": (0.0, 0.05)},
}


def pictures(folder: Path, count: int = 4) -> Path:
    """A folder of smooth pictures with an edge each."""
    folder.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:80, :96]
    for k in range(count):
        ramp = (np.stack([x + 9 * k, y, x + y], -1) % 256).astype(np.uint8)
        ramp[20 + k : 40 + k, 30:60] = [250, 30 * k, 90]
        Image.fromarray(ramp).save(folder / f"{k}.png")
    return folder


def words(kind: str, folder: Path, /, **more: Any) -> dict[str, Any]:
    """Keyword arguments of a small configuration of that kind."""
    data = folder / "data"
    if not data.exists():
        pictures(data)
    small = {"steps": 6, "pixels": 2 * 32 * 32, "crops": (16, 32), "crop_odds": (0.5, 0.5), "warmup": 2}
    quiet = {"checkpoint_every": 2, "sample_every": 0, "precision": "no", "threads": 1, "lr": 1e-3}
    return {"data": data, "out": folder / "run", **small, **quiet, **NETWORKS[kind], **more}


def toml(values: dict[str, Any]) -> str:
    """As the TOML of a configuration; one level of tables."""
    plain = {k: v for k, v in values.items() if not isinstance(v, dict)}
    tables = {k: v for k, v in values.items() if isinstance(v, dict)}
    lines = [f"{k} = {_value(v)}" for k, v in plain.items()]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{k} = {_value(v)}" for k, v in table.items())]
    return "\n".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return f'"{value}"' if isinstance(value, str | Path) else str(value).lower()
