"""Rows of pictures that are there already, brought up to date: where the file lies now, and its licence."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from pellucid.errors import ImageFileError
from pellucid.retrieval.contention import retried
from pellucid.retrieval.decode import content, sha256
from pellucid.retrieval.hashing import hexadecimal
from pellucid.retrieval.source import Item, readable

COLUMNS = ("sha256", "name", "path", "licence", "source")


def mend(table: Any, again: Sequence[tuple[str, Item]], nameless: Collection[str], *, paths: bool) -> int:
    """Updates rows whose file is gone, or whose licence nobody knew, from files with the same content.

    Where the file is gone (or no longer the one that was added): path and name are the new file's, and so are licence
    and source where the new file has them. Where only the licence was unknown and the new file has one: licence and
    source. Everything else is left alone.

    Args:
        table: of pictures.
        again: (key, file) of files whose content the table has.
        nameless: keys of rows without a licence.
        paths: whether the table keeps where pictures lie.

    Returns:
        How many rows.

    Raises:
        ConfigError: the table cannot be written to.
    """
    first: dict[str, Item] = {}
    for key, item in again:
        if hexadecimal(key) is not None and (paths or (item.licence and key in nameless)):
            first.setdefault(key, item)
    if not first:
        return 0
    keys = ", ".join(f"'{key}'" for key in first)
    found = table.search().where(f"sha256 IN ({keys})").select(list(COLUMNS)).limit(2 * len(first)).to_arrow()
    changed: dict[str, dict[str, Any]] = {}
    for row in found.to_pylist():
        if (new := _mended(row, first[row["sha256"]], paths)) != row:
            changed[row["sha256"]] = new
    if changed:
        _write(table, list(changed.values()))
    return len(changed)


def holds(path: str, key: str) -> bool:
    """Whether the file is there and its content the one with this SHA-256."""
    try:
        return sha256(content(Path(path))) == key
    except ImageFileError:
        return False


def _mended(row: dict[str, Any], item: Item, paths: bool) -> dict[str, Any]:
    place = str(item.path.resolve())
    moved = paths and row["path"] is not None and row["path"] != place and readable(place) == place
    if moved and not holds(row["path"], row["sha256"]):
        terms = {"licence": item.licence or row["licence"], "source": item.source or row["source"]}
        return row | {"path": place, "name": item.name} | terms
    if not row["licence"] and item.licence:
        return row | {"licence": item.licence, "source": item.source or row["source"]}
    return row


def _write(table: Any, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa

    schema = pa.schema([table.schema.field(name) for name in COLUMNS])
    changes = pa.Table.from_pylist(rows, schema=schema)
    retried(
        lambda: table.merge_insert("sha256").when_matched_update_all().execute(changes), "cannot write to the index"
    )
