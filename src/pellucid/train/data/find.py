"""Which pictures a path holds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pellucid.errors import ConfigError
from pellucid.train.data.dicom import is_dicom, series
from pellucid.train.data.entry import Found, reason
from pellucid.train.data.files import ARRAYS, SUFFIXES, arrays, photograph
from pellucid.train.data.volume import Slicing

LONGEST_LIST = 10**9  # bytes


def find(path: Path, slicing: Slicing, most: int) -> Found:
    """The pictures of a folder, a list or a file, in the order of their names; a list keeps its own.

    Args:
        path: where to look.
        slicing: how volumes are cut.
        most: bytes that an .npz may unpack to.

    Raises:
        ConfigError: the path does not exist or is of no known kind.
    """
    if not path.exists():
        raise ConfigError(f"the data {path} do not exist")
    if path.is_dir():
        return _folder(path, slicing, most)
    if path.suffix.lower() == ".txt":
        return _read(_listed(path), slicing, most)
    if path.suffix.lower() in SUFFIXES | ARRAYS or is_dicom(path):
        return _read([path], slicing, most)
    raise ConfigError(f"{path} is no folder, list (.txt), picture, array (.npy, .npz) or DICOM file")


def _folder(folder: Path, slicing: Slicing, most: int) -> Found:
    """Links that lead out of the folder are not followed: a data set from outside must not read what is not its own."""
    root = folder.resolve()
    inside: list[Path] = []
    outside: list[Path] = []
    for path in sorted(p for p in folder.rglob("*") if not p.name.startswith(".") and p.is_file()):
        if path.suffix.lower() in SUFFIXES | ARRAYS or is_dicom(path):
            (inside if path.resolve().is_relative_to(root) else outside).append(path)
    found = _read(inside, slicing, most)
    found.refused += [(str(path), "a link out of its folder; name its target in a list file") for path in outside]
    return found


def _listed(path: Path) -> list[Path]:
    try:
        if path.stat().st_size > LONGEST_LIST:
            raise ConfigError(f"the list {path} is longer than {LONGEST_LIST:,} bytes")
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the list {path}: {error}") from error
    return [path.parent / line for line in lines if line and not line.startswith("#")]


def _read(paths: Iterable[Path], slicing: Slicing, most: int) -> Found:
    """The pictures of files; DICOM files come last, since they are sorted among themselves."""
    found, dicom = Found(), []
    for path in paths:
        if not path.is_file():
            found.refused.append((str(path), "no such file"))
        elif path.suffix.lower() in SUFFIXES:
            found.entries.append(photograph(path))
        elif path.suffix.lower() in ARRAYS:
            try:
                found.entries += arrays(path, slicing, most)
            except Exception as error:  # numpy and zipfile raise anything for a damaged file
                found.refused.append((str(path), reason(error)))
        elif is_dicom(path):
            dicom.append(path)
        else:
            found.refused.append((str(path), "neither a picture, nor an array, nor a DICOM file"))
    if dicom:
        sliced = series(dicom, slicing)
        found.entries += sliced.entries
        found.refused += sliced.refused
    return found
