"""The LanceDB database behind an index: opening, making, and appending to it without loss when others write too."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from pellucid.errors import CompatibilityError, ConfigError
from pellucid.images.read import SUFFIXES
from pellucid.retrieval.ann import Tuning
from pellucid.retrieval.contention import retried, said
from pellucid.retrieval.record import FORMAT, Keeping, schema

PICTURES, TUNING = "pictures", "tuning"
ABOUT = b"pellucid"
LONGEST_ABOUT = 65_536  # bytes
MOST_NUMBERS = 65_536  # of a vector
MOST_NOTES = 100_000
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


def missing(uri: str | Path) -> ConfigError:
    """There is no index at a place: what to do, which is another thing for a folder of pictures."""
    place = Path(uri)
    if "://" not in str(uri) and _holds_pictures(place):
        return ConfigError(
            f"{uri} is a folder of pictures, no index; make one of it with: pellucid index build {uri} -o "
            f"{place.with_name(place.name + '.index')}"
        )
    near = difflib.get_close_matches(
        place.name, [p.name for p in place.parent.glob("*.index") if p != place], n=1, cutoff=0.7
    )
    hint = f"did you mean {place.with_name(near[0])}?" if near and "://" not in str(uri) else ""
    return ConfigError(f"there is no index at {uri}; {hint or f'make one with: pellucid index build FOLDER -o {uri}'}")


def _holds_pictures(place: Path) -> bool:
    """Whether a folder holds a picture at its top; few files are looked at."""
    if not place.is_dir():
        return False
    return any(path.suffix.lower() in SUFFIXES for path in islice(place.iterdir(), 1000))


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
    if not str(uri).strip():
        raise ConfigError("an index has no name; give a folder, or a place in an object store")
    if "://" not in str(uri):
        if Path(uri).exists() and not Path(uri).is_dir():
            raise ConfigError(f"{uri} is a file; an index is a folder, or a place in an object store")
        if not make and not Path(uri).exists():  # or LanceDB would make it
            raise missing(uri)
        if make and _holds_pictures(Path(uri)):
            raise ConfigError(f"{uri} is a folder of pictures; an index goes into a folder of its own, {uri}.index")
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
            raise missing(uri)
        table = database.open_table(PICTURES)
        found = table.schema.metadata or {}
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"cannot read the index {uri}: {said(error)}") from error
    about = _about(found, uri)
    wanted = schema(about.dimension, about.keeping.half, {})
    if not table.schema.equals(wanted, check_metadata=False):
        raise ConfigError(f"{uri} is damaged, or no index of pictures that pellucid made: its columns are others")
    return table, about


def _about(metadata: dict[bytes, bytes], uri: str | Path) -> About:
    """What the metadata say. Raises `ConfigError` where it is nothing that this version can use."""
    try:
        text = metadata[ABOUT]
        if len(text) > LONGEST_ABOUT:
            raise ValueError("too long")
        about = json.loads(text)
        if int(about["format"]) > FORMAT:
            raise ConfigError(f"{uri} was made by a later version of pellucid; update this one")
        keeping, dimension = about["keeping"], about["dimension"]
        longest = keeping.get("longest")
        if not (_whole(dimension, 1, MOST_NUMBERS) and (longest is None or _whole(longest, 1, 2**31 - 1))):
            raise ValueError("a number out of its range")
        kept = Keeping(bool(keeping.get("paths", False)), longest, bool(keeping.get("half", False)))
        return About(str(about["embedder"]), str(about["text"]), dimension, bool(about["unit"]), kept)
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise ConfigError(f"{uri} is a LanceDB database, but no index of pictures that pellucid made") from error


def _whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


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
    """The latest note; None where there is none.

    Raises:
        ConfigError: the notes are not those of an index.
    """
    if TUNING not in names(database):
        return None
    try:
        table = database.open_table(TUNING)
        if table.count_rows() > MOST_NOTES:
            raise ValueError("too many")
        rows = table.to_arrow().to_pylist()
        if not rows:
            return None
        latest = max(rows, key=lambda row: str(row["when"]))
        del latest["when"]
        tuning = Tuning(**latest)
        counts = _whole(tuning.nprobes, 1, 2**20) and _whole(tuning.refine, 1, 10**4)
        others = all(_whole(value, 0, 2**40) for value in (tuning.k, tuning.queries, tuning.rows))
        if not (counts and others and isinstance(latest["recall"], float) and isinstance(latest["kind"], str)):
            raise ValueError("numbers out of their range")
        return tuning
    except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"the notes on how {database.uri} is searched are damaged; remove its {TUNING}.lance, which the next "
            "`pellucid index add` makes anew"
        ) from error


def require_same(about: About, name: str, uri: str | Path) -> None:
    """Raises `CompatibilityError` where the vectors are another embedder's."""
    if about.embedder != name:
        raise CompatibilityError(
            f"{uri} holds vectors of {about.embedder}, not of {name}; vectors of two embedders cannot be compared: "
            "name the one that made it, or build another index"
        )
