"""The shipped priors: a folder each, holding `model.safetensors` (float16) and `card.json`. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pellucid.errors import PriorError, UnknownNameError
from pellucid.nn.edm import EDMDenoiser
from pellucid.nn.unet import UNet
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.process import DiscreteVP

LARGEST_FILE = 64 * 2**20
DEFAULT = "photo"


@dataclass(frozen=True)
class Card:
    """What a shipped prior is, where it comes from, how good it is.

    Attributes:
        folder: where its files are.
        data: the card as written: name, summary, network, sigma_data, range, sha256, training, quality, licences.
    """

    folder: Path
    data: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Card:
        """Raises `PriorError` where the card is missing or damaged."""
        try:
            data = json.loads((folder / "card.json").read_text())
            return cls(folder, {"name": folder.name, **data})
        except (OSError, ValueError, TypeError) as error:
            raise PriorError(f"{folder} holds no readable card.json: {error}") from error

    @property
    def name(self) -> str:
        """What `--prior` takes."""
        return str(self.data["name"])

    @property
    def summary(self) -> str:
        """One line."""
        return str(self.data.get("summary", ""))

    @property
    def text(self) -> str:
        """The whole card, for people."""
        return json.dumps(self.data, indent=2, ensure_ascii=False)


def folders() -> list[Path]:
    """Where priors are looked for: $PELLUCID_ZOO, the installed package, a checkout's `zoo/`."""
    here = Path(__file__).resolve().parent
    places = [here, here.parents[2] / "zoo"]
    if extra := os.environ.get("PELLUCID_ZOO"):
        places.insert(0, Path(extra))
    return [place for place in places if place.is_dir()]


def available() -> list[Card]:
    """The cards of all priors found, the first of each name."""
    cards: dict[str, Card] = {}
    for place in folders():
        for path in sorted(place.glob("*/card.json")):
            card = Card.read(path.parent)
            cards.setdefault(card.name, card)
    return list(cards.values())


def load(name: str | Path = DEFAULT, device: str = "cpu", precision: str = "auto") -> DiffusionPrior:
    """A shipped prior by name, or any prior by its folder (ours, or a diffusers UNet2DModel or pipeline folder).

    Args:
        name: a name that `available` knows, or a folder.
        device: where the network goes.
        precision: "auto" is bfloat16 where it pays (see `fast_dtype`), "float32" or "bfloat16" say it outright;
            "openvino" and "onnxruntime" compile the network for the CPU, forward only (see `prior.compiled`).

    Raises:
        UnknownNameError: no prior of that name, and no such folder.
        PriorError: files are missing or damaged, or the precision is none of these.
    """
    if precision == "openvino" or precision == "onnxruntime":
        from pellucid.prior.compiled import compiled

        return compiled(load(name, "cpu", "float32"), precision)  # type: ignore[arg-type]
    autocast = _autocast(precision, device)
    known = {card.name: card.folder for card in available()}
    folder = known.get(str(name), Path(name))
    if (folder / "card.json").is_file():
        return _own(Card.read(folder), device, autocast)
    if any((folder / path).is_file() for path in ("config.json", "unet/config.json")):
        from pellucid.checkpoints.diffusers import load_folder

        return load_folder(folder, device, autocast)
    if folder.is_dir():
        raise PriorError(f"{folder} holds neither card.json nor a diffusers config.json")
    raise UnknownNameError("prior", str(name), known)


def _own(card: Card, device: str, autocast: torch.dtype | None) -> DiffusionPrior:
    network = UNet(**card.data["network"])
    denoiser = EDMDenoiser(network, card.data["sigma_data"])
    _read_weights(card, denoiser)
    denoiser = denoiser.eval().requires_grad_(False).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return DiffusionPrior(
        denoiser,
        DiscreteVP.linear(),
        "denoiser",
        multiple=network.multiple,
        channels=card.data["network"].get("channels", 3),
        autocast=autocast,
    )


def _read_weights(card: Card, module: torch.nn.Module) -> None:
    from safetensors.torch import load as read_safetensors

    path = card.folder / "model.safetensors"
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise PriorError(f"{path} is larger than {LARGEST_FILE >> 20} MiB, so it is no shipped prior")
        content = path.read_bytes()
    except OSError as error:
        raise PriorError(f"cannot read {path}: {error}") from error
    if (found := hashlib.sha256(content).hexdigest()) != card.data["sha256"]:
        raise PriorError(
            f"{path} is damaged: its sha256 is {found[:12]}..., the card says {card.data['sha256'][:12]}..."
        )
    weights = {key: value.float() for key, value in read_safetensors(content).items()}
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise PriorError(f"{path} does not fit the network of its card: {error}") from error


def fast_dtype(device: str) -> torch.dtype | None:
    """bfloat16 on a CPU with avx512_bf16 or AMX and on a GPU that has it; None elsewhere: emulated, it is slower."""
    if device.startswith("cpu"):
        features = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return torch.bfloat16 if features.get("avx512_bf16") or features.get("amx_bf16") else None
    return torch.bfloat16 if device.startswith("cuda") and torch.cuda.is_bf16_supported() else None


def _autocast(precision: str, device: str) -> torch.dtype | None:
    if precision == "auto":
        return fast_dtype(device)
    try:
        return {"float32": None, "bfloat16": torch.bfloat16}[precision]
    except KeyError:
        raise PriorError(
            f"precision must be auto, float32, bfloat16, openvino or onnxruntime, not {precision!r}"
        ) from None


def example() -> Path:
    """The packaged example picture (its source and licence are in the card of `photo`).

    Raises:
        PriorError: it is not installed.
    """
    for place in folders():
        if (path := place / DEFAULT / "example.png").is_file():
            return path
    raise PriorError("the example picture is not installed; reinstall pellucid")


__all__ = ["DEFAULT", "Card", "available", "example", "fast_dtype", "folders", "load"]
