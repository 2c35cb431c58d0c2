"""Whether an index is what it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.errors import ImageFileError
from pellucid.retrieval import ann
from pellucid.retrieval.decode import content, sha256
from pellucid.retrieval.hashing import hexadecimal
from pellucid.retrieval.index import Index

LENGTH = 5e-3  # that a vector's length may differ from 1 by: float16 rounds
MOST_NAMED = 20
ROWS = 256


@dataclass
class Report:
    """What was found. `faults` is empty where everything is well.

    Attributes:
        rows: that were looked at.
        faults: (row's name, what is wrong), the first few of every kind.
        counts: of every kind of fault.
        recall: of the index against exact search; None where every search is exact.
        needed: the recall that the index was tuned for.
    """

    rows: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    recall: float | None = None
    needed: float = ann.TARGET

    @property
    def fine(self) -> bool:
        """Whether nothing is wrong; recall may be a little below what it was tuned for, on other queries."""
        return not self.counts and (self.recall is None or self.recall >= self.needed - 0.02)

    def blame(self, name: str, kind: str, why: str) -> None:
        """Notes a fault."""
        self.counts[kind] += 1
        if self.counts[kind] <= MOST_NAMED:
            self.faults.append((name, why))


def check(index: Index, *, pictures: bool = True, told: Callable[[int], None] | None = None) -> Report:
    """Reads the whole table: keys once each, vectors finite, of the right length, contents with the hash that they had.

    Args:
        index: the index.
        pictures: read contents and files too, which takes as long as reading them takes.
        told: is called with the number of rows looked at.
    """
    report = Report()
    seen: set[bytes] = set()
    columns = ["sha256", "name", "path", "picture_sha256", ann.COLUMN] + (["picture"] if pictures else [])
    for batch in ann.batches(index.table, columns, ROWS):
        x = ann.matrix(batch)
        rows = batch.drop_columns([ann.COLUMN]).to_pylist()
        lengths = np.linalg.norm(x.astype(np.float64), axis=1)
        for row, vector, length in zip(rows, x, lengths, strict=True):
            key, name = row["sha256"], row["name"]
            digits = hexadecimal(key)
            if digits is None:
                report.blame(name, "key", "its key is no SHA-256")
            elif digits in seen:
                report.blame(name, "duplicate", "is there twice")
            else:
                seen.add(digits)
            if not np.isfinite(vector).all():
                report.blame(name, "vector", "its embedding is not finite")
            elif index.about.unit and abs(length - 1) > LENGTH:
                report.blame(name, "vector", f"its embedding has the length {length:.4f}, not 1")
            if pictures:
                _picture(report, row)
        report.rows += len(rows)
        if told:
            told(report.rows)
    report.recall = index.measure()
    return report


def _picture(report: Report, row: dict[str, Any]) -> None:
    name, path = row["name"], row["path"]
    if path is None:
        if row["picture"] is None:
            report.blame(name, "picture", "its content is missing")
        elif sha256(row["picture"]) != row["picture_sha256"]:
            report.blame(name, "picture", "its content is not what was stored: the sha256 differs")
        return
    if not Path(path).is_file():
        report.blame(name, "missing", f"its file {path} is gone")
        return
    try:
        found = sha256(content(Path(path)))
    except ImageFileError as error:
        report.blame(name, "missing", str(error))
        return
    if found != row["sha256"]:
        report.blame(name, "changed", f"its file {path} has changed since it was added")
