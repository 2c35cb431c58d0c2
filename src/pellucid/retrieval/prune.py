"""Removing rows that nobody can use any more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.errors import ConfigError, ImageFileError
from pellucid.retrieval import ann
from pellucid.retrieval.contention import retried
from pellucid.retrieval.decode import content, decode, sha256
from pellucid.retrieval.hashing import hexadecimal
from pellucid.retrieval.index import Index

ROWS = 64
MOST = 0.5  # share of the rows that go without being asked for: more look like a disk that is not there
COLUMNS = ["sha256", "name", "path", "picture_sha256", "picture", ann.COLUMN]


def prune(
    index: Index, *, dry: bool = False, force: bool = False, told: Callable[[int], None] | None = None
) -> list[tuple[str, str]]:
    """Removes rows whose file is gone or has changed, whose content cannot be decoded, or whose key or vector is none.

    A picture whose file has moved is better added again from where it lies now, which mends its row.

    Args:
        index: the index.
        dry: remove nothing.
        force: remove more than half of the rows, too.
        told: is called with the number of rows looked at.

    Returns:
        (name, why) of every row that went, or would.

    Raises:
        ConfigError: more than half of the rows would go and `force` is not given; the table cannot be written to.
    """
    found: list[tuple[str, str]] = []
    places: list[tuple[str, str | None]] = []
    seen = 0
    for batch in ann.batches(index.table, COLUMNS, ROWS):
        fine = np.isfinite(ann.matrix(batch)).all(1)
        for row, finite in zip(batch.drop_columns([ann.COLUMN]).to_pylist(), fine, strict=True):
            if why := _fault(row) or ("" if finite else "its embedding is not finite"):
                found.append((row["name"], why))
                places.append((row["sha256"], row["path"]))
        seen += batch.num_rows
        if told:
            told(seen)
    if dry or not found:
        return found
    if len(found) > MOST * seen and not force:
        raise ConfigError(
            f"{len(found):,} of the {seen:,} rows of {index.uri} would go, the first {found[0][0]}: {found[0][1]}; "
            "if a disk is missing, bring it back, if files moved, add them again, else repeat it with --force"
        )
    for start in range(0, len(places), ROWS):
        # By its path too: another program may have mended the row since.
        where = " OR ".join(_condition(key, path) for key, path in places[start : start + ROWS])
        retried(lambda where=where: index.table.delete(where), f"cannot remove rows from {index.uri}")  # type: ignore[misc]
    return found


def _condition(key: str, path: str | None) -> str:
    place = "path IS NULL" if path is None else f"path = {_quoted(path)}"
    return f"(sha256 = {_quoted(key)} AND {place})"


def _quoted(text: str) -> str:
    """As a literal of SQL: the table may be anybody's."""
    return "'" + text.replace("'", "''") + "'"


def _fault(row: dict[str, Any]) -> str:
    name, path = row["name"], row["path"]
    if hexadecimal(row["sha256"]) is None:
        return "its key is no SHA-256"
    try:
        if path is not None:
            data = content(Path(path))
            if sha256(data) != row["sha256"]:
                return f"its file {path} has changed since it was added"
        else:
            data = row["picture"]
            if not data:
                return "its content is missing"
            if sha256(data) != row["picture_sha256"]:
                return "its content is not what was stored: the sha256 differs"
        decode(data, name)
    except ImageFileError as error:
        return str(error)
    return ""
