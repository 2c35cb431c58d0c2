"""From a checkpoint to a shipped prior: float16 safetensors and a card, with the quality measured on the way."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import platform
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pellucid.errors import ConfigError
from pellucid.nn.edm import EDMDenoiser
from pellucid.train.data import SUFFIXES
from pellucid.train.prior import PriorTrainer

LEVELS = (15, 25, 50)


def export(trainer: PriorTrainer, folder: Path, *, name: str, summary: str, extra: dict[str, Any]) -> None:
    """Writes `folder/model.safetensors` (averaged weights, float16) and `folder/card.json`, beside and then renamed."""
    from safetensors.torch import save

    denoiser = trainer.ema_denoiser()
    content = save({key: value.half().contiguous() for key, value in denoiser.state_dict().items()})
    card = {
        "name": name,
        "summary": summary,
        "network": trainer.raw.network.config,
        "parameters": sum(p.numel() for p in denoiser.parameters()),
        "sigma_data": denoiser.sigma_data,
        "range": "pictures in [0, 1] are mapped to [-1, 1]",
        "sha256": hashlib.sha256(content).hexdigest(),
        "licence": "Apache-2.0 (the weights); training pictures under their own licences, see 'data'",
        "training": {
            "steps": trainer.step,
            "seconds": round(trainer.seconds),
            "device": _device(trainer),
            "torch": torch.__version__,
        },
        **extra,
    }
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "model.safetensors", content)
    _write(folder / "card.json", (json.dumps(card, indent=2, ensure_ascii=False) + "\n").encode())


def ship(trainer: PriorTrainer, command: str) -> dict[str, Any]:
    """Exports the last checkpoint as the configuration's `ship` says, its quality measured; returns that quality.

    Raises:
        ConfigError: the configuration has no [ship] table, or there is no checkpoint.
    """
    to = trainer.config.ship
    if to is None or not trainer.checkpoint.exists():
        raise ConfigError(f"shipping needs a [ship] table and a checkpoint ({trainer.checkpoint})")
    trainer.resume()
    denoiser = rounded_to_half(trainer.ema_denoiser())
    pictures = centre_crops(to.evaluate)
    quality = {f"psnr_{level}": round(float(np.mean(denoising_psnr(denoiser, pictures, level))), 2) for level in LEVELS}
    protocol = "one-step denoising PSNR in dB, float32, mean over the 256x256 centre crops; noise std in units of 1/255"
    extra = {
        "quality": {**quality, "pictures": len(pictures), "protocol": protocol},
        "data": {"what": to.data, "licences": licences(to.sources, trainer.config.data.name)},
        "command": command,
        **to.notes,
    }
    export(trainer, to.to, name=to.to.name, summary=to.summary, extra=extra)
    return quality


def rounded_to_half(denoiser: EDMDenoiser) -> EDMDenoiser:
    """The denoiser as it is shipped: its weights rounded to float16."""
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.copy_(parameter.half())
    return denoiser


def denoising_psnr(
    denoise: Callable[[Tensor, Tensor], Tensor], pictures: Tensor, level: int, seed: int = 0
) -> list[float]:
    """PSNR in dB of E[x_0 | x_0 + n] for every picture, n of standard deviation level / 255, nothing clipped.

    Args:
        denoise: (x in [-1, 1], sigma in its units) -> x_0, on batches of one.
        pictures: (n, 3, h, w) in [0, 1].
        level: of 255.
        seed: of the noise.
    """
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(seed))
    scores = []
    for x, n in zip(pictures, noise, strict=True):
        y = 2 * (x + level / 255 * n) - 1
        with torch.no_grad():
            x0 = (denoise(y[None], torch.tensor([2 * level / 255])) + 1) / 2
        scores.append(float(-10 * torch.log10((x0[0] - x).square().mean())))
    return scores


def centre_crops(folder: Path, size: int = 256) -> Tensor:
    """The size x size centre crops of a folder's pictures, (n, 3, size, size) in [0, 1]."""
    crops = []
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES):
        array = np.asarray(Image.open(path).convert("RGB"))
        top, left = (array.shape[0] - size) // 2, (array.shape[1] - size) // 2
        crops.append(torch.from_numpy(array[top : top + size, left : left + size].copy()))
    return torch.stack(crops).permute(0, 3, 1, 2).float() / 255


def licences(table: Path, split: str = "train") -> dict[str, int]:
    """How many pictures of a SOURCES.tsv whose files lie in the folder `split` beside it have which licence."""
    stems = {path.stem for path in (table.parent / split).iterdir()}
    with table.open(newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if Path(row["file"]).stem in stems]
    return dict(Counter(row["licence"] for row in rows).most_common())


def _device(trainer: PriorTrainer) -> str:
    if trainer.accelerator.device.type != "cpu":
        return torch.cuda.get_device_name(trainer.accelerator.device)
    return f"CPU, {torch.get_num_threads()} thread(s), {platform.machine()}, {trainer.config.precision}"


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)
