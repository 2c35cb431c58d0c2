"""Which files a folder or a list holds, and where they are from."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pellucid.errors import ConfigError
from pellucid.train.data.files import SUFFIXES

SOURCES = "SOURCES.tsv"
LARGEST_TABLE = 10**9  # bytes
MOST_OF_A_PART = 256 * 2**20  # bytes


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

    Hidden files are left out; so are links that lead out of a folder, or nowhere, which are refused by name: a
    collection from outside must not read what is not its own. Names that are not UTF-8 are refused too. Licence and
    source are taken from a SOURCES.tsv in the folder or beside it (columns file, licence, source, and original_path and
    author where there are any; see `Sources.of`), then from the arguments.

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


def parts(files: Iterator[Item | Refusal], most: int, size: int = MOST_OF_A_PART) -> Iterator[list[Item | Refusal]]:
    """Batches of at most `most` files and `size` bytes (one file may exceed them): all of a batch is in memory."""
    part: list[Item | Refusal] = []
    held = 0
    for file in files:
        taken = _bytes(file.path) if isinstance(file, Item) else 0
        if part and (len(part) >= most or held + taken > size):
            yield part
            part, held = [], 0
        part.append(file)
        held += taken
    if part:
        yield part


def _items(roots: Iterable[Path | str], licence: str | None, origin: str | None) -> Iterator[Item | Refusal]:
    for root in map(Path, roots):
        if root.is_dir():
            yield from _folder(root, licence or "", origin or "")
        elif root.suffix.lower() == ".txt":
            yield from _list(root, licence or "", origin or "")
        else:
            yield _item(root, root.name, licence or "", origin or "", known(root.parent))


def _folder(root: Path, licence: str, origin: str) -> Iterator[Item | Refusal]:
    table, inside = known(root), root.resolve()
    for folder, below, files in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for file in sorted(files):
            path = Path(folder, file)
            if file.startswith(".") or path.suffix.lower() not in SUFFIXES:
                continue
            name = path.relative_to(root).as_posix()
            if path.is_symlink() and (why := _link(path, inside)):
                yield Refusal(readable(name), why)
            else:
                yield _item(path, name, licence, origin, table)


def _link(path: Path, inside: Path) -> str:
    """Why a link is not followed; "" where it may be."""
    try:
        leads = path.resolve()
    except (OSError, RuntimeError):  # RuntimeError: pathlib's word for a loop
        return "a link that leads nowhere: in a loop, or through what cannot be read"
    return "" if leads.is_relative_to(inside) else "a link out of its folder; name its target in a list file"


def _list(path: Path, licence: str, origin: str) -> Iterator[Item | Refusal]:
    tables: dict[Path, Sources] = {}
    try:
        with path.open(encoding="utf-8") as lines:
            for line in map(str.strip, lines):
                if not line or line.startswith("#"):
                    continue
                file = path.parent / line
                if not _is_file(file):
                    yield Refusal(line, "no such file")
                elif file.suffix.lower() not in SUFFIXES:
                    yield Refusal(line, f"none of {' '.join(sorted(SUFFIXES))}")
                else:
                    if file.parent not in tables:
                        tables[file.parent] = known(file.parent)
                    yield _item(file, line, licence, origin, tables[file.parent])
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the list {path}: {error}") from error


def _item(path: Path, name: str, licence: str, origin: str, table: Sources) -> Item | Refusal:
    if readable(name) != name:  # names are text in the table
        return Refusal(readable(name), "its name is not UTF-8; rename it")
    found = table.of(path)
    return Item(path, name, found[0] or licence, found[1] or origin)


def readable(name: str) -> str:
    """A file's name with bytes that are no UTF-8 written in hexadecimal."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, a folder that may not be entered
        return False


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0


@dataclass(frozen=True)
class Sources:
    """What a SOURCES.tsv says of the files of one folder.

    Attributes:
        folder: whose files are asked for.
        place: where the table lies: in that folder, or beside it.
        rows: {file: (licence, source)}.
    """

    folder: Path = Path()
    place: Path = Path()
    rows: dict[str, tuple[str, str]] = field(default_factory=dict)

    def of(self, path: Path) -> tuple[str, str]:
        """(licence, source) of a file of the folder; "" where nothing is said of it.

        A file goes by its path below the table's place. A table beside the folder may leave out the folder's own name,
        unless it has a file of that name beside itself, which is then meant. A bare name is never enough for a file in
        a folder below: another may have the same one.
        """
        if not self.rows:
            return "", ""
        found = self.rows.get(_below(path, self.place))
        if found is None and self.place != self.folder:
            short = _below(path, self.folder)
            found = self.rows.get(short)
            if found is not None and _is_file(self.place / short):
                found = None
        return found or ("", "")


def _below(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path.absolute(), folder)).as_posix()


def known(folder: Path) -> Sources:
    """What the SOURCES.tsv in a folder, or beside it, says of its files; nothing where there is none.

    Raises:
        ConfigError: it is too large, no text, or has no column named file.
    """
    folder = folder.absolute()
    for place in (folder, folder.parent):
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
                listed = {row["file"]: (row.get("licence") or "", _origin(row)) for row in rows if row["file"]}
                return Sources(folder, place, listed)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ConfigError(f"cannot read {path}: {error}") from error
    return Sources()


def _origin(row: dict[str, str]) -> str:
    place = " ".join(part for key in ("source", "original_path") if (part := row.get(key)))
    author = row.get("author")
    return f"{place} ({author})" if author else place
