"""Priors of an experiment: loaded once a process, known by what is in their files."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from pellucid import zoo
from pellucid.prior.base import Prior

PARTS = (".json", ".safetensors")


@lru_cache(maxsize=4)
def loaded(name: str, device: str, precision: str) -> Prior:
    """The prior. Raises `UnknownNameError` or `PriorError`."""
    return zoo.load(name, device, precision)


def fingerprint(name: str) -> str:
    """The sha256 of the card, which holds that of the weights; of a folder without a card, of all its files."""
    folder = zoo.find(name)
    card = folder / "card.json"
    files = [card] if card.is_file() else sorted(p for p in folder.rglob("*") if p.suffix in PARTS and p.is_file())
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(folder).as_posix().encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def device_for(name: str) -> str:
    """The device that a plan's word stands for."""
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def precision_for(name: str, device: str) -> str:
    """The precision that "auto" stands for on this machine, as the key of a row must not depend on the machine."""
    if name != "auto":
        return name
    dtype = zoo.fast_dtype(device)
    return "float32" if dtype is None else str(dtype).removeprefix("torch.")
