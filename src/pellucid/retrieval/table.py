"""The LanceDB database behind an index: opening, making, and appending to it without loss when others write too."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pellucid.errors import CompatibilityError, ConfigError
from pellucid.retrieval.ann import Tuning
from pellucid.retrieval.contention import retried, said
from pellucid.retrieval.record import FORMAT, Keeping, schema

PICTURES, TUNING = "pictures", "tuning"
ABOUT = b"pellucid"
PATIENCE = timedelta(minutes=10)  # with other writers


@dataclass(frozen=True)
class About:
    """What a table says of itself.

    Attributes:
        embedder: the identity of whatever made its vectors.
        text: by which that can be had again, see `embedder`.
        dimension: of the vectors.
        unit: whether they have length 1.
        keeping: what is kept of a picture.
    """

    embedder: str
    text: str
    dimension: int
    unit: bool
    keeping: Keeping


HINT = "there is no index at {0}; make one with: pellucid index build FOLDER -o {0}"


def connect(uri: str | Path, options: dict[str, str] | None = None, *, make: bool = False) -> Any:
    """The database at a folder, or at an object store (s3://, gs://, az://).

    Args:
        uri: the place.
        options: of the object store.
        make: a folder that is not there is made.

    Raises:
        ConfigError: LanceDB is not installed, the folder is not there, or the place cannot be used.
    """
    try:
        import lancedb
    except ImportError as error:
        raise ConfigError("indexes need the extra: pip install 'pellucid[retrieval]'") from error
    if "://" not in str(uri):
        if Path(uri).exists() and not Path(uri).is_dir():
            raise ConfigError(f"{uri} is a file; an index is a folder, or a place in an object store")
        if not make and not Path(uri).exists():  # or LanceDB would make it
            raise ConfigError(HINT.format(uri))
    try:
        return lancedb.connect(str(uri), storage_options=options, read_consistency_interval=timedelta(0))
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"cannot open {uri}: {said(error)}") from error


def names(database: Any) -> list[str]:
    """Of its tables."""
    return list(database.list_tables().tables)


def open_table(database: Any, uri: str | Path) -> tuple[Any, About]:
    """The table of pictures, and what it says of itself.

    Raises:
        ConfigError: there is none, or it is of another program or a later version.
    """
    try:
        if PICTURES not in names(database):
            raise ConfigError(HINT.format(uri))
        table = database.open_table(PICTURES)
        found = table.schema.metadata or {}
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"cannot read the index {uri}: {said(error)}") from error
    try:
        about = json.loads(found[ABOUT])
        if about["format"] > FORMAT:
            raise ConfigError(f"{uri} was made by a later version of pellucid; update this one")
        return table, About(
            str(about["embedder"]),
            str(about["text"]),
            int(about["dimension"]),
            bool(about["unit"]),
            Keeping(**about["keeping"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{uri} is a LanceDB database, but no index of pictures that pellucid made") from error


def create_table(database: Any, uri: str | Path, about: About) -> tuple[Any, About]:
    """The table; where somebody else has just made it, theirs. Schema, key and description are one commit."""
    text = {"format": FORMAT, "embedder": about.embedder, "text": about.text, "dimension": about.dimension}
    text |= {"unit": about.unit, "keeping": vars(about.keeping)}
    columns = schema(about.dimension, about.keeping.half, {ABOUT.decode(): json.dumps(text)})
    try:
        database.create_table(PICTURES, schema=columns, mode="create", exist_ok=True)
    except (OSError, RuntimeError, ValueError) as error:
        if PICTURES not in names(database):
            raise ConfigError(f"cannot make an index at {uri}: {said(error)}") from error
    return open_table(database, uri)


def append(table: Any, rows: Any) -> int:
    """Adds rows whose key is not there yet, as one version; how many were added.

    LanceDB lets no two writers add the same key: whoever comes second looks again.

    Raises:
        ConfigError: the table cannot be written to, or others never leave it alone.
    """

    def insert() -> int:
        merging = table.merge_insert("sha256").when_not_matched_insert_all()
        return int(merging.execute(rows, timeout=PATIENCE).num_inserted_rows)

    return retried(insert, "cannot write to the index")


def write_tuning(database: Any, tuning: Tuning) -> None:
    """Notes how the index is best searched; the latest note counts. Raises `ConfigError` where it cannot."""
    row = [tuning.about() | {"when": datetime.now(UTC).isoformat()}]

    def note() -> None:
        if TUNING not in names(database):
            try:
                database.create_table(TUNING, data=row)
                return
            except (OSError, RuntimeError, ValueError):
                if TUNING not in names(database):  # nobody else has just made it
                    raise
        database.open_table(TUNING).add(row)

    retried(note, "cannot note how the index is searched")


def read_tuning(database: Any) -> Tuning | None:
    """The latest note; None where there is none."""
    if TUNING not in names(database):
        return None
    rows = database.open_table(TUNING).to_arrow().to_pylist()
    if not rows:
        return None
    latest = max(rows, key=lambda row: str(row["when"]))
    latest.pop("when")
    return Tuning(**latest)


def require_same(about: About, name: str, uri: str | Path) -> None:
    """Raises `CompatibilityError` where the vectors are another embedder's."""
    if about.embedder != name:
        raise CompatibilityError(
            f"{uri} holds vectors of {about.embedder}, not of {name}; vectors of two embedders cannot be compared: "
            "name the one that made it, or build another index"
        )
