"""Foreign checkpoint files, read without executing anything: .pt, .pth, .ckpt (zip and legacy) and .safetensors.

First the description: names, shapes, dtypes and where the numbers lie. A tensor is read when it is asked for, by
seeking to it, so that a file is never in memory as a whole.
"""

from __future__ import annotations

import struct
import sys
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from pellucid.checkpoints import pickled
from pellucid.checkpoints.inert import Inert
from pellucid.checkpoints.kinds import Foreign, Stored
from pellucid.errors import PriorError

LARGEST_DESCRIPTION = 64 * 2**20  # bytes of pickle; of the tensors' numbers there is no limit but the file's size
MOST_ENTRIES = 1_000_000
LONGEST_NAME = 500  # of a tensor; names are shown to people
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_VERSION = 1001
STATE_DICTS = ("state_dict", "params_ema", "params", "model_state_dict", "model", "net", "generator", "weights")


def describe(path: Path, options: Mapping[str, Any] | None = None, averaged: bool | None = None) -> Foreign:
    """A checkpoint file, described; no tensor has been read.

    Args:
        path: a .pt, .pth, .ckpt, .bin or .safetensors file; its content decides, not its name.
        options, averaged: see `Foreign`.

    Raises:
        PriorError: the file is missing, damaged, no checkpoint, or tries to run code.
    """
    tree = read_tree(path)
    tensors = state_dict(tree)
    if not tensors:
        raise PriorError(f"{path} holds no state dict: no dictionary of named tensors where checkpoints have one")
    return Foreign(tensors, tree, dict(options or {}), averaged, path)


def read_tree(path: Path) -> Any:
    """All that the file holds, as dicts, lists, numbers, strings, `Stored` tensors and `Inert` objects.

    Raises:
        PriorError: see `describe`.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
        if not head:
            raise PriorError(f"{path} is empty")
        if head[:4] == b"PK\x03\x04":
            return _zip(path)
        if head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < LARGEST_DESCRIPTION * 2:
            return _safetensors(path)
        if head[:1] == b"\x80":
            return _legacy(path)
    except PriorError:
        raise
    except OSError as error:
        raise PriorError(f"cannot read {path}: {error.strerror or error}") from error
    raise PriorError(f"{path} is no checkpoint: neither a torch file (.pt, .pth, .ckpt) nor safetensors")


def state_dict(tree: Any) -> dict[str, Stored]:
    """The named tensors of a tree: the tree itself, or what lies under one of the usual names; `module.` taken off."""
    nested = [_named_tensors(tree.get(key)) for key in STATE_DICTS] if isinstance(tree, dict) else []
    # The first of the longest; what lies beside a state dict (a random state, a statistic) is no state dict.
    found = max(nested, key=len, default={}) or _named_tensors(tree)
    while found and all(key.startswith("module.") for key in found):
        found = {key.removeprefix("module."): value for key, value in found.items()}
    return found


def _named_tensors(tree: Any) -> dict[str, Stored]:
    if isinstance(tree, Inert):
        return _scripted(tree) if tree.of.module.startswith("__torch__") else _named_tensors(tree.items)
    if not isinstance(tree, dict):
        return {}
    found = {key: value for key, value in tree.items() if isinstance(key, str) and isinstance(value, Stored)}
    if any(len(key) > LONGEST_NAME or not key.isprintable() for key in found):
        raise PriorError("the file is refused: it names tensors by what is no name")
    return found


def _scripted(tree: Inert) -> dict[str, Stored]:
    """The state dict of a TorchScript module: its attributes are modules again."""
    found: dict[str, Stored] = {}
    waiting: list[tuple[str, Any]] = [("", tree)]
    while waiting:
        prefix, value = waiting.pop()
        if isinstance(value, Stored):
            found[prefix[:-1]] = value
        elif isinstance(value, Inert) and isinstance(value.state, dict) and prefix.count(".") < 50:
            parts = [(f"{prefix}{name}.", part) for name, part in value.state.items() if isinstance(name, str)]
            waiting += reversed(parts)
        if len(found) + len(waiting) > MOST_ENTRIES:
            raise PriorError("the file is refused: its modules refer to each other without end")
    return found


class _Limited:
    """A file that gives at most so many bytes, for reading descriptions."""

    def __init__(self, file: IO[bytes], limit: int, name: str) -> None:
        self.file, self.left, self.name = file, limit, name

    def read(self, count: int = -1) -> bytes:
        """As a file's; a count of -1 is never asked for by the pickle's reader."""
        if count < 0 or count > self.left:
            raise PriorError(
                f"{self.name} is damaged or refused: its description wants {count} bytes, {self.left} are there"
            )
        self.left -= count
        return self.file.read(count)

    def readline(self) -> bytes:
        """As a file's."""
        line = self.file.readline(min(self.left, 2**20))
        self.left -= len(line)
        return line

    def tell(self) -> int:
        """As a file's."""
        return self.file.tell()


def _unpickled(file: IO[bytes], size: int, place: pickled.Place, path: Path) -> Any:
    limited: Any = _Limited(file, min(size, LARGEST_DESCRIPTION), str(path))
    return pickled.read(limited, place, str(path))


def _zip(path: Path) -> Any:
    """The zip format: `<root>/data.pkl` and a file of plain numbers for every storage, stored, not compressed."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {info.filename: info for info in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, EOFError) as error:
        raise PriorError(f"{path} is damaged: {error}") from error
    if len(entries) > MOST_ENTRIES:
        raise PriorError(f"{path} is refused: it holds {len(entries)} entries")
    for name in entries:
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
            raise PriorError(f"{path} is refused: its entry {name[:80]!r} points outside")
    roots = [name.removesuffix("data.pkl") for name in entries if name.endswith("data.pkl") and name.count("/") < 2]
    if len(roots) != 1:
        inside = next((name for name in entries if name.endswith((".ckpt", ".pt", ".pth", ".safetensors"))), None)
        what = f"; it holds {inside[:80]}: unpack it and import that" if inside else ""
        raise PriorError(f"{path} is an archive but no torch file{what}")
    (root,) = roots
    with path.open("rb") as file:
        total = file.seek(0, 2)

        def begin(name: str) -> tuple[int, int]:
            """Where an entry's bytes begin, and how many there are."""
            info = entries.get(name)
            if info is None:
                raise PriorError(f"{path} is damaged: it lacks {name[:80]}")
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.file_size != info.compress_size:
                raise PriorError(f"{path} is refused: {name[:80]} is compressed or encrypted, which torch never does")
            file.seek(info.header_offset)
            header = file.read(30)
            if len(header) < 30 or header[:4] != b"PK\x03\x04":
                raise PriorError(f"{path} is damaged: there is no entry where {name[:80]} should be")
            start = info.header_offset + 30 + sum(struct.unpack("<HH", header[26:30]))
            if start + info.file_size > total:
                raise PriorError(
                    f"{path} is damaged: {name[:80]} should have {info.file_size} bytes, the file is too short"
                )
            return start, info.file_size

        if f"{root}byteorder" in entries:
            start, size = begin(f"{root}byteorder")
            file.seek(start)
            _require_order(path, file.read(min(size, 16)).decode("latin1"))
        extents: dict[str, tuple[int, int]] = {}
        folders = [f"{root}data/", f"{root}tensors/", root]

        def place(
            storage: pickled.Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype
        ) -> Stored:
            if storage.key not in extents:
                name = next((f + storage.key for f in folders if f + storage.key in entries), folders[0] + storage.key)
                here = file.tell()
                extents[storage.key] = begin(name)
                file.seek(here)
            return _stored(path, extents[storage.key], storage, offset, shape, strides, dtype)

        start, size = begin(f"{root}data.pkl")
        if size > LARGEST_DESCRIPTION:
            raise PriorError(f"{path} is refused: its description has {size >> 20} MiB")
        file.seek(start)
        return _unpickled(file, size, place, path)


def _legacy(path: Path) -> Any:
    """The format before the zip: four pickles, the list of storages, then their numbers, one after the other."""

    def nowhere(*_: Any) -> Stored:
        raise PriorError(f"{path} is no torch file: tensors before its header")

    extents: dict[str, tuple[int, int]] = {}
    wanted: dict[str, int] = {}

    def place(
        storage: pickled.Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype
    ) -> Stored:
        wanted[storage.key] = storage.dtype.itemsize
        described = _described(path, storage, offset, shape, strides, dtype)

        def read() -> Tensor:
            return described(extents[storage.key])

        return Stored(shape, dtype, read)

    with path.open("rb") as file:
        total = file.seek(0, 2)
        file.seek(0)
        magic = _unpickled(file, total, nowhere, path)
        if magic != LEGACY_MAGIC:
            raise PriorError(f"{path} is a pickle, but no torch checkpoint; only tensors are read, by name")
        version, system = _unpickled(file, total, nowhere, path), _unpickled(file, total, nowhere, path)
        if version != LEGACY_VERSION or not isinstance(system, dict):
            raise PriorError(f"{path} is damaged, or of an unknown version")
        if not system.get("little_endian", True):
            _require_order(path, "big")
        tree = _unpickled(file, total, place, path)
        keys = _unpickled(file, total, nowhere, path)
        if not isinstance(keys, list):
            raise PriorError(f"{path} is damaged: it does not say where its tensors are")
        for key in map(str, keys):
            header = file.read(8)
            if len(header) < 8:
                raise PriorError(f"{path} is damaged: it ends before its tensors do")
            (count,) = struct.unpack("<q", header)
            start, size = file.tell(), count * wanted.get(key, 1)
            if count < 0 or start + size > total:
                raise PriorError(f"{path} is damaged: a tensor of {count} numbers is announced, the file is too short")
            extents[key] = (start, size)
            file.seek(start + size)
    if missing := set(wanted) - set(extents):
        raise PriorError(f"{path} is damaged: it lacks the storage {min(missing)[:80]}")
    return tree


def _safetensors(path: Path) -> dict[str, Stored]:
    from safetensors import SafetensorError, safe_open

    def read(key: str) -> Tensor:
        with safe_open(path, framework="pt") as file:
            return file.get_tensor(key)

    try:
        tree = {}
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118
                part = file.get_slice(key)
                dtype = SAFETENSORS.get(part.get_dtype())
                if dtype is None:
                    raise PriorError(f"{path}: {key} is of the unknown type {part.get_dtype()}")
                tree[key] = Stored(tuple(part.get_shape()), dtype, partial(read, key))
    except SafetensorError as error:
        raise PriorError(f"{path} is damaged: {error}") from error
    return tree


SAFETENSORS = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def _require_order(path: Path, order: str) -> None:
    if order.strip() != sys.byteorder:
        raise PriorError(f"{path} was written on a machine of the byte order {order!r}, this one is {sys.byteorder!r}")


def _described(
    path: Path,
    storage: pickled.Storage,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    dtype: torch.dtype,
) -> Any:
    """A function from where the storage lies, (first byte, bytes), to the tensor.

    Raises:
        PriorError: the tensor reaches beyond its storage, or repeats it.
    """
    if len(shape) != len(strides):
        raise PriorError(f"{path} is damaged: a tensor has {len(shape)} sides and {len(strides)} strides")
    numel = 1
    for side in shape:
        numel *= side
    last = sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True)) if numel else -1
    available = storage.count * storage.dtype.itemsize // dtype.itemsize
    if numel > available or offset + last >= available:
        raise PriorError(f"{path} is damaged: a tensor of the shape {shape} is larger than what is stored for it")
    begin = (storage.offset * storage.dtype.itemsize) + offset * dtype.itemsize

    def read(extent: tuple[int, int]) -> Tensor:
        start, size = extent
        length = (last + 1) * dtype.itemsize
        if begin + length > size:
            raise PriorError(f"{path} is damaged: a tensor of the shape {shape} is larger than what is stored for it")
        raw = torch.empty(length, dtype=torch.uint8)
        with path.open("rb") as file:
            file.seek(start + begin)
            if length and file.readinto(raw.numpy().data) != length:
                raise PriorError(f"{path} is damaged: it ends within a tensor")
        return raw.view(dtype).as_strided(shape, strides) if numel else torch.empty(shape, dtype=dtype)

    return read


def _stored(
    path: Path,
    extent: tuple[int, int],
    storage: pickled.Storage,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    dtype: torch.dtype,
) -> Stored:
    if storage.count * storage.dtype.itemsize > extent[1]:
        raise PriorError(f"{path} is damaged: a storage should hold {storage.count} numbers and has {extent[1]} bytes")
    return Stored(shape, dtype, partial(_described(path, storage, offset, shape, strides, dtype), extent))
