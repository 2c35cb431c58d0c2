"""The files that a result depends on, known by what is in them and not by their names alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pellucid import zoo
from pellucid.methods.supervised import is_estimator
from pellucid.operators import Spec, parse
from pellucid.operators.values import PATH
from pellucid.severity import severity_cards
from pellucid.zoo import Card

PARTS = (".json", ".safetensors")


def of_network(folder: Path) -> str:
    """The sha256 of a network's card, which holds that of its weights; without a card, of all files of the folder.

    A latent prior's card names the autoencoder that it stands on, a folder of its own: that one's hash goes in too.
    """
    card = folder / "card.json"
    if not card.is_file():
        return _of_files(folder)
    digest = _digest(folder, [card])
    if codec := Card.read(folder).data.get("codec"):
        beside = folder.parent / str(codec)  # looked for in the order of `zoo.load`
        digest.update(of_network(beside if beside.is_dir() else zoo.find(str(codec))).encode())
    return digest.hexdigest()


def of_networks(method: str, options: Mapping[str, Any]) -> dict[str, str]:
    """Supervised networks and severity encoders that a method's name or its options name, with their hashes.

    Of `encoder="auto"` they are all that it may choose from.
    """
    names = dict.fromkeys([method, *(value for value in options.values() if isinstance(value, str))])
    encoders = severity_cards()
    if options.get("encoder") == "auto":
        names |= dict.fromkeys(encoders)
    found = (n for n in names if n in encoders or is_estimator(n) or (Path(n) / "card.json").is_file())
    return {name: of_network(zoo.find(name)) for name in found}


def of_operator(text: str) -> dict[str, str]:
    """Files and folders that an operator's text names, such as kernels, masks and weights, with their hashes."""
    return {str(path): of_path(path) for path in _paths(parse(text))}


def of_path(path: Path) -> str:
    """The sha256 of a file, or of the JSON files and weights of a folder; "" where there is neither."""
    return _of_files(path) if path.is_dir() else _of_file(path).hex() if path.is_file() else ""


def _paths(spec: Spec) -> Iterator[Path]:
    kinds = {parameter.name: parameter.kind for parameter in spec.entry.parameters}
    yield from (Path(str(value)) for name, value in spec.parameters if kinds[name] is PATH)
    for part in spec.parts:
        yield from _paths(part)


def _of_files(folder: Path) -> str:
    return _digest(folder, sorted(p for p in folder.rglob("*") if p.suffix in PARTS and p.is_file())).hexdigest()


def _digest(folder: Path, files: list[Path]) -> Any:
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(_of_file(path))
    return digest


def _of_file(path: Path) -> bytes:
    stat = path.stat()
    return _read(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1024)
def _read(path: Path, size: int, changed: int) -> bytes:
    """Once for each state of the file: every row's key asks for it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
