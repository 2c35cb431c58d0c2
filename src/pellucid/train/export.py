"""From a checkpoint to a shipped network: float16 safetensors and a card, with the quality measured on the way."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pellucid.codec.autoencoder import AutoencoderCodec
from pellucid.errors import ConfigError
from pellucid.images.atomic import replacing
from pellucid.nn.edm import EDMDenoiser
from pellucid.train.quality import quality
from pellucid.train.tasks.prior import PriorTask, TimestepObjective
from pellucid.train.trainer import Trainer

OWN = {"card.json", "model.safetensors", "train.toml"}
NO_GPU = "trained without a GPU: what these seconds of a CPU give; more training will give more"


def ship(trainer: Trainer, command: str, to: Path | None = None) -> dict[str, Any]:
    """Exports the last checkpoint as the configuration's [ship] says, or plainly to a folder; returns its quality.

    Args:
        trainer: of the run.
        command: that made it, for the card, where the checkpoint does not say.
        to: a folder, instead of the one that [ship] names.

    Raises:
        ConfigError: there is no checkpoint, or neither a [ship] table nor a folder.
    """
    shipping = trainer.config.ship
    target = to or (shipping.to if shipping else None)
    if target is not None:
        _require_own(target)
    if target is None:
        raise ConfigError("shipping needs a [ship] table in the configuration, or a folder: --to DIR")
    if trainer.resume() is None:
        raise ConfigError(f"{trainer.checkpoints.folder} holds no checkpoint yet; train first")
    model = rounded_to_half(trainer.averaged_model().to("cpu"))
    measured = quality(trainer.task, model) if shipping else {}
    fitted = trainer.task.calibration(model)
    extra: dict[str, Any] = {"quality": measured, "command": trainer.command or command}
    extra |= {"calibration": fitted} if fitted else {}
    if shipping:
        counted = licences(shipping.sources, trainer.config.data.name) if shipping.sources else {}
        extra = {"summary": shipping.summary, **extra, "data": {"what": shipping.data}}
        extra["data"]["licences"] = counted | shipping.licences
        extra |= shipping.notes
    if isinstance(trainer.task, PriorTask) and not isinstance(model, EDMDenoiser):
        write_diffusers(trainer.task, model, target, extra)
    else:
        write(trainer, model, target, extra)
    return measured


def write_diffusers(task: PriorTask, model: Any, folder: Path, extra: dict[str, Any]) -> None:
    """Writes a UNet2DModel as the pipeline folder that diffusers and `--prior` take; what was there is replaced."""
    objective = task.objective
    assert isinstance(objective, TimestepObjective)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        partial = Path(made) / folder.name
        model.save_pretrained(partial / "unet", safe_serialization=True)
        if isinstance(task.codec, AutoencoderCodec):
            kind = "vqvae" if hasattr(task.codec.module, "quantize") else "vae"
            autoencoder: Any = task.codec.module
            autoencoder.save_pretrained(partial / kind, safe_serialization=True)
        (partial / "scheduler").mkdir()
        scheduler = {"_class_name": "DDPMScheduler", **objective.schedule}
        (partial / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler, indent=2) + "\n")
        (partial / "training.json").write_text(json.dumps(extra, indent=2, ensure_ascii=False) + "\n")
        if folder.exists():
            os.replace(folder, Path(made) / "old")
        os.replace(partial, folder)


def write(trainer: Trainer, model: nn.Module, folder: Path, extra: dict[str, Any]) -> None:
    """Writes `folder/model.safetensors` (float16) and `folder/card.json`, each beside and then renamed."""
    from safetensors.torch import save

    content = save({key: value.half().contiguous() for key, value in model.state_dict().items()})
    card = {
        "name": folder.name,
        "kind": trainer.task.kind,
        "summary": extra.pop("summary", f"trained by pellucid, {trainer.step} steps"),
        **trainer.task.card(model),
        "parameters": sum(p.numel() for p in model.parameters()),
        "sha256": hashlib.sha256(content).hexdigest(),
        "licence": "Apache-2.0 (the weights); training data under their own licences"
        if trainer.config.ship
        else "yours to say",
        "training": {
            "steps": trainer.step,
            "seconds": round(trainer.seconds),
            **trainer.made_on,
            **({"remark": NO_GPU} if trainer.made_on["device"].startswith("CPU") else {}),
            **({"init": trainer.config.init} if trainer.config.init else {}),
        },
        **extra,
    }
    _require_own(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "model.safetensors") as partial:
        partial.write_bytes(content)
    with replacing(folder / "card.json") as partial:
        partial.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _require_own(folder: Path) -> None:
    """Raises `ConfigError` for a folder that holds something else than a shipped network, and for a file."""
    if folder.is_file():
        raise ConfigError(f"{folder} is a file; choose a folder for the network")
    others = [p.name for p in folder.iterdir() if p.name not in OWN] if folder.is_dir() else []
    if others and not (folder / "card.json").exists() and not (folder / "train.toml").exists():
        raise ConfigError(f"{folder} holds other files ({others[0]}, ...); choose a folder of its own for the network")


def rounded_to_half(model: nn.Module) -> nn.Module:
    """The model as it is shipped: its weights rounded to float16."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half())
    return model


def licences(table: Path, split: str = "train") -> dict[str, int]:
    """How many pictures of a SOURCES.tsv whose files lie in the folder `split` beside it have which licence."""
    stems = {path.stem for path in (table.parent / split).iterdir()}
    with table.open(newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if Path(row["file"]).stem in stems]
    return dict(Counter(row["licence"] for row in rows).most_common())
