"""Results on disk: a small Parquet file for every finished batch, one file of all of them in the end.

    DIR/plan.json        the plan as it was understood, versions, machine
    DIR/rows.parquet     one row for every picture and method, made of parts/rows-*.parquet
    DIR/steps.parquet    one row for every step, if trajectories were asked for
    DIR/features.parquet pooled features, if asked for
    DIR/pictures/        PNG files by key

A part is written beside and renamed: it is whole or not there. A batch's rows are its last part, so a batch counts as
done when everything of it is there. Whatever is in two files counts once, by its key.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.errors import ConfigError
from pellucid.images.atomic import replacing

if TYPE_CHECKING:
    import pyarrow

TABLES = ("features", "steps", "rows")  # in this order: rows last
INDEX = {"features": ("key", "metric"), "steps": ("key", "step"), "rows": ("key",)}


def require_arrow() -> None:
    """Raises `ConfigError` where pyarrow is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ConfigError("results are Parquet files: pip install 'pellucid[bench]'") from error


class Store:
    """The results in one folder.

    Args:
        folder: made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def parts(self) -> Path:
        """The folder of the parts."""
        return self.folder / "parts"

    @property
    def pictures(self) -> Path:
        """The folder of the restored pictures."""
        return self.folder / "pictures"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time writes here; the system lets go of the lock however the process ends.

        Raises:
            ConfigError: another one does, or the folder cannot be made.
        """
        try:
            for folder in (self.folder, self.parts, self.pictures):
                folder.mkdir(parents=True, exist_ok=True)
            file = (self.folder / ".lock").open("w")
        except OSError as error:
            raise ConfigError(f"cannot write into {self.folder}: {error.strerror or error}") from error
        with file:
            if not _lock(file.fileno()):
                raise ConfigError(f"another pellucid is writing to {self.folder}; wait for it or choose another folder")
            yield

    def put(self, name: str, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Writes a batch, its rows last."""
        import pyarrow.parquet

        for table in TABLES:
            if rows := tables.get(table):
                with replacing(self.parts / f"{table}-{name}.parquet") as partial:
                    pyarrow.parquet.write_table(_joined(rows), partial)

    def read(self, table: str = "rows") -> list[dict[str, Any]]:
        """All rows of a table, each key once; of a key that failed and was tried again, the later one.

        Raises:
            ConfigError: a file is no Parquet file.
        """
        found: dict[tuple[Any, ...], dict[str, Any]] = {}
        for row in self._all(table):
            index = tuple(row[name] for name in INDEX[table])
            if index not in found or found[index].get("status", "ok") != "ok":
                found[index] = row
        return list(found.values())

    def finish(self, names: Mapping[str, Mapping[str, Any]]) -> int:
        """Makes one file of each table and removes the parts; the number of rows.

        Args:
            names: by key, columns to write anew: labels, which may change from run to run without changing a result.
        """
        count = 0
        for table in reversed(TABLES):
            rows = self.read(table)
            if table == "rows":
                rows = [{**row, **names.get(row["key"], {})} for row in rows]
                keys, count = {row["key"] for row in rows}, len(rows)
            if rows := [row for row in rows if row["key"] in keys or table == "features"]:
                self._write(table, rows)
        for table in TABLES:
            for part in self.parts.glob(f"{table}-*.parquet"):
                part.unlink()
        return count

    def _write(self, table: str, rows: list[dict[str, Any]]) -> None:
        import pyarrow.parquet

        with replacing(self.folder / f"{table}.parquet") as partial:
            pyarrow.parquet.write_table(_joined(rows), partial)

    def _all(self, table: str) -> Iterable[dict[str, Any]]:
        import pyarrow
        import pyarrow.parquet

        whole = self.folder / f"{table}.parquet"
        files = [whole] if whole.exists() else []
        for path in [*files, *sorted(self.parts.glob(f"{table}-*.parquet"))]:
            try:
                rows = pyarrow.parquet.read_table(path).to_pylist()
            except (OSError, pyarrow.ArrowException) as error:
                raise ConfigError(f"cannot read {path}: {error}") from error
            yield from rows if table != "features" else map(_packed, rows)


def _packed(row: dict[str, Any]) -> dict[str, Any]:
    """Features as the bytes of float32; lists of numbers, which take ten times the memory, are taken as well."""
    values = row["values"]
    return row if isinstance(values, bytes) else {**row, "values": np.asarray(values, dtype="<f4").tobytes()}


def _joined(rows: Sequence[Mapping[str, Any]]) -> pyarrow.Table:
    """Rows that may have different columns as one table: a column that a row lacks is empty there."""
    import pyarrow

    columns = list(dict.fromkeys(name for row in rows for name in row))
    return pyarrow.table({name: [row.get(name) for row in rows] for name in columns})


def _lock(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    os.set_inheritable(descriptor, False)
    return True
