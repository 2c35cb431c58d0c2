"""Which files a folder or a list holds, and where they are from."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pellucid.errors import ConfigError
from pellucid.train.data.files import SUFFIXES

SOURCES = "SOURCES.tsv"
LARGEST_TABLE = 10**9  # bytes


@dataclass(frozen=True)
class Item:
    """A file that is to become a row.

    Attributes:
        path: where it lies.
        name: what the row is called: the path below its folder.
        licence, source: "" where nobody has said.
    """

    path: Path
    name: str
    licence: str = ""
    source: str = ""


@dataclass(frozen=True)
class Refusal:
    """A file that did not become a row, and why."""

    name: str
    reason: str


def items(
    source: Path | str | Iterable[Path | str], licence: str | None = None, origin: str | None = None
) -> Iterator[Item | Refusal]:
    """Pictures in the order of their names; a list keeps its own.

    Hidden files are left out; so are links that lead out of a folder, which are refused by name: a collection from
    outside must not read what is not its own. Licence and source are taken from a SOURCES.tsv in the folder or beside
    it (columns file, licence, source, and original_path and author where there are any), then from the arguments.

    Args:
        source: a folder, searched recursively; a picture; a list (.txt, one path a line, relative to the list); or
            several of them.
        licence, origin: of files that no SOURCES.tsv names.

    Raises:
        ConfigError: there is no such path, or it is of no known kind; a SOURCES.tsv cannot be read.
    """
    roots = [source] if isinstance(source, str | Path) else list(source)
    require(roots)
    return _items(roots, licence, origin)


def require(roots: Iterable[Path | str]) -> None:
    """Raises `ConfigError` where one of these does not exist or is of no known kind; see `items`."""
    for root in map(Path, roots):
        if not root.exists():
            raise ConfigError(f"the pictures {root} do not exist")
        if not (root.is_dir() or root.suffix.lower() in SUFFIXES or root.suffix.lower() == ".txt"):
            raise ConfigError(f"{root} is no folder, list (.txt) or picture ({' '.join(sorted(SUFFIXES))})")


def _items(roots: Iterable[Path | str], licence: str | None, origin: str | None) -> Iterator[Item | Refusal]:
    for root in map(Path, roots):
        if root.is_dir():
            yield from _folder(root, licence or "", origin or "")
        elif root.suffix.lower() == ".txt":
            yield from _list(root, licence or "", origin or "")
        else:
            yield _sourced(Item(root, root.name, licence or "", origin or ""), known(root.parent))


def _folder(root: Path, licence: str, origin: str) -> Iterator[Item | Refusal]:
    table, inside = known(root), root.resolve()
    for folder, below, files in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for file in sorted(files):
            path = Path(folder, file)
            if file.startswith(".") or path.suffix.lower() not in SUFFIXES:
                continue
            name = path.relative_to(root).as_posix()
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                yield Refusal(name, "a link out of its folder; name its target in a list file")
            else:
                yield _sourced(Item(path, name, licence, origin), table)


def _list(path: Path, licence: str, origin: str) -> Iterator[Item | Refusal]:
    tables: dict[Path, dict[str, tuple[str, str]]] = {}
    try:
        with path.open(encoding="utf-8") as lines:
            for line in map(str.strip, lines):
                if not line or line.startswith("#"):
                    continue
                file = path.parent / line
                if not file.is_file():
                    yield Refusal(line, "no such file")
                elif file.suffix.lower() not in SUFFIXES:
                    yield Refusal(line, f"none of {' '.join(sorted(SUFFIXES))}")
                else:
                    if file.parent not in tables:
                        tables[file.parent] = known(file.parent)
                    yield _sourced(Item(file, line, licence, origin), tables[file.parent])
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the list {path}: {error}") from error


def _sourced(item: Item, table: dict[str, tuple[str, str]]) -> Item:
    found = table.get(item.name) or table.get(item.path.name)
    if found is None:
        return item
    return Item(item.path, item.name, found[0] or item.licence, found[1] or item.source)


def known(folder: Path) -> dict[str, tuple[str, str]]:
    """{file: (licence, source)} of the SOURCES.tsv in a folder, or beside it; {} where there is none.

    Raises:
        ConfigError: it is too large, no text, or has no column named file.
    """
    for place in (folder, folder.absolute().parent):
        path = place / SOURCES
        if not path.is_file():
            continue
        if path.stat().st_size > LARGEST_TABLE:
            raise ConfigError(f"{path} is larger than {LARGEST_TABLE:,} bytes")
        try:
            with path.open(encoding="utf-8", newline="") as file:
                rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
                if "file" not in (rows.fieldnames or ()):
                    raise ConfigError(f"{path} has no column named file")
                return {row["file"]: (row.get("licence") or "", _origin(row)) for row in rows if row["file"]}
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ConfigError(f"cannot read {path}: {error}") from error
    return {}


def _origin(row: dict[str, str]) -> str:
    place = " ".join(part for key in ("source", "original_path") if (part := row.get(key)))
    author = row.get("author")
    return f"{place} ({author})" if author else place
