"""The folder that an import makes: config.json, weights in safetensors, card.json; how its parts are read again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.checkpoints.kinds import Kind, get
from pellucid.errors import PriorError

LARGEST_JSON = 16 * 2**20  # bytes


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises `PriorError` where the file is missing, too large, or holds no object."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_JSON + 1)
        if len(content) > LARGEST_JSON:
            raise PriorError(f"{path} is larger than {LARGEST_JSON >> 20} MiB, which no configuration is")
        data = json.loads(content.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PriorError(f"cannot read {path}: {error}") from error
    if not isinstance(data, dict):
        raise PriorError(f"{path} is no configuration")
    return data


def weights_files(folder: Path, stem: str) -> list[Path]:
    """The safetensors files of a part: one, or the shards that its index names (imports write one, diffusers both).

    Those that the card of an import lists are held against their sha256.

    Raises:
        PriorError: there are none, the index names files elsewhere, or a file is not the one that the card lists.
    """
    single, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    if single.is_file():
        return _verified(folder, [single])
    if not index.is_file():
        raise PriorError(f"{folder} holds no {single.name}")
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise PriorError(f"{index} names no files")
    files = sorted(set(map(str, names.values())))
    for name in files:
        if os.path.basename(name) != name or not name.endswith(".safetensors"):
            raise PriorError(f"{index} names {name!r}, which is no safetensors file in its own folder")
    return _verified(folder, [folder / name for name in files])


def _verified(folder: Path, files: list[Path]) -> list[Path]:
    """The files, each held against the card of the import that it belongs to, if there is one."""
    listed = _listed(folder) or _listed(folder.parent)
    for path in files:
        if (promised := listed.get(path)) is None:
            continue
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise PriorError(f"cannot read {path}: {error}") from error
        if found != promised:
            raise PriorError(f"{path} is damaged: its sha256 is {found[:12]}..., the card says {promised[:12]}...")
    return files


def _listed(folder: Path) -> dict[Path, str]:
    """The sha256 of the files below a folder, from the card of the import that made it; {} where none did."""
    if not (folder / "card.json").is_file():
        return {}
    card = read_json(folder / "card.json")
    hashes = card.get("sha256")
    if "checkpoint" not in card or not isinstance(hashes, dict):
        return {}
    return {folder / name: str(digest) for name, digest in hashes.items()}


def read_weights(folder: Path, stem: str = "model") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a part, one after the other. Raises `PriorError` where a file is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    for path in weights_files(folder, stem):
        try:
            with safe_open(path, framework="pt") as file:
                for key in file.keys():  # noqa: SIM118
                    yield key, file.get_tensor(key)
        except (OSError, SafetensorError) as error:
            raise PriorError(f"cannot read {path}: {error}") from error


def read_part(
    folder: Path, build: Callable[[dict[str, Any]], nn.Module], device: str = "cpu", stem: str = "model"
) -> nn.Module:
    """A module from its folder: built from config.json, weights loaded strictly, in eval mode, without gradients.

    Raises:
        PriorError: files are missing or damaged, or do not fit each other.
    """
    config = read_json(folder / "config.json")
    try:
        module = build({key: value for key, value in config.items() if not key.startswith("_")})
    except (TypeError, ValueError, KeyError) as error:
        raise PriorError(f"{folder / 'config.json'} describes no network: {error}") from error
    own = module.state_dict()
    missing = set(own)
    with torch.no_grad():
        for key, tensor in read_weights(folder, stem):
            if key not in own or own[key].shape != tensor.shape:
                wanted = f"has {tuple(own[key].shape)} there" if key in own else "has no such entry"
                raise PriorError(f"{folder}: {key} is {tuple(tensor.shape)}, the network of its configuration {wanted}")
            own[key].copy_(tensor)
            missing.discard(key)
    if missing:
        raise PriorError(f"{folder} lacks {len(missing)} weights, the first being {min(missing)}")
    return module.eval().requires_grad_(False).to(device)


def card_of(folder: Path) -> dict[str, Any]:
    """The card of an imported folder. Raises `PriorError`."""
    card = read_json(folder / "card.json")
    if not isinstance(card.get("checkpoint"), str):
        raise PriorError(f"{folder / 'card.json'} is of no imported checkpoint: it names none")
    return card


def load(folder: Path, device: str = "cpu", autocast: torch.dtype | None = None, role: str | None = None) -> Any:
    """What an imported folder is: a prior, an operator, a network, as its kind says.

    Args:
        folder: made by `pellucid import`.
        device: where the network goes.
        autocast: dtype of its forward pass, where the kind knows one.
        role: what it must be, None for anything.

    Raises:
        PriorError: it is something else, or its files are missing or damaged.
    """
    card = card_of(folder)
    kind: Kind = get(card["checkpoint"])
    if role is not None and kind.role != role:
        article = "an" if role[0] in "aeo" else "a"
        raise PriorError(f"{folder} holds {kind.summary}: its role is {kind.role}, not that of {article} {role}")
    values: Mapping[str, Any] = card
    return kind.load(folder, values, device, autocast)
