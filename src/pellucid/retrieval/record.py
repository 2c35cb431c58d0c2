"""From files to rows of the table: read, hash, decode, embed. Pure work, so that it can run anywhere."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import ImageFileError
from pellucid.retrieval.decode import content, decode, reduced, sha256
from pellucid.retrieval.embedder import Embedder
from pellucid.retrieval.fit import THUMBNAIL, fit, thumbnails
from pellucid.retrieval.source import Item, Refusal, readable

FORMAT = 1
AT_ONCE = 64  # pictures that are embedded


@dataclass(frozen=True)
class Keeping:
    """What is kept of a picture.

    Attributes:
        paths: only where it lies, not its content.
        longest: pictures with a longer side are encoded anew with this one; None: contents are kept as they are.
        half: vectors are stored as float16.
    """

    paths: bool = False
    longest: int | None = None
    half: bool = False


@dataclass
class Made:
    """What some files became: rows (embeddings beside them, (n, d)), files that are there already by key, refusals."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    vectors: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    already: list[tuple[str, Item]] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


def schema(dimension: int, half: bool, about: dict[str, str]) -> Any:
    """The table's columns. `sha256`, of the file's content, is its key: LanceDB then lets no two writers add one twice.

    Args:
        dimension: of the vectors.
        half: float16.
        about: kept with the schema.
    """
    import pyarrow as pa

    key = {"lance-schema:unenforced-primary-key": "true", "lance-schema:unenforced-primary-key:position": "1"}
    columns = [
        pa.field("sha256", pa.string(), nullable=False, metadata=key),
        pa.field("name", pa.string(), nullable=False),
        pa.field("path", pa.string()),
        pa.field("picture", pa.large_binary()),
        pa.field("picture_sha256", pa.string()),
        pa.field("format", pa.string(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("licence", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("thumbnail", pa.binary(3 * THUMBNAIL**2), nullable=False),
        pa.field("vector", pa.list_(pa.float16() if half else pa.float32(), dimension), nullable=False),
        pa.field("added", pa.timestamp("us", "UTC"), nullable=False),
    ]
    return pa.schema(columns, metadata=about)


def make(
    items: Sequence[Item], embed: Embedder, keeping: Keeping, known: Collection[str], pool: Executor | None = None
) -> Made:
    """Reads, hashes, decodes and embeds some files.

    Args:
        items: the files.
        embed: their embedder; called for 64 at a time: it copies what it is given several times.
        keeping: what is kept.
        known: hashes that the table has already.
        pool: of threads that read and decode; None: one after the other.
    """
    made, seen, squares = Made(), set(), []
    outcomes: Iterator[tuple[Item, _Read | Refusal | str]]
    read = [(item, embed.side, keeping, known) for item in items]
    outcomes = zip(items, pool.map(_read, read) if pool else map(_read, read), strict=True)
    for item, outcome in outcomes:
        if isinstance(outcome, Refusal):
            made.refused.append(outcome)
        elif isinstance(outcome, str):
            made.already.append((outcome, item))
        elif outcome.row["sha256"] in seen:
            made.already.append((outcome.row["sha256"], item))
        else:
            seen.add(outcome.row["sha256"])
            made.rows.append(outcome.row)
            squares.append(outcome.square)
    if squares:
        groups = (squares[start : start + AT_ONCE] for start in range(0, len(squares), AT_ONCE))
        made.vectors = torch.cat([embed.pictures(torch.cat(group)).float() for group in groups]).numpy()
        _require_finite(made, keeping)
    return made


def _require_finite(made: Made, keeping: Keeping) -> None:
    """Moves rows whose vector is no vector, as it would be stored, to the refusals."""
    with np.errstate(over="ignore"):
        stored = made.vectors.astype(np.float16) if keeping.half else made.vectors
    fine = np.isfinite(stored).all(1)
    made.refused += [
        Refusal(row["name"], "its embedding is not finite: the embedder gave NaN, or numbers too large")
        for row, good in zip(made.rows, fine, strict=True)
        if not good
    ]
    made.rows = [row for row, good in zip(made.rows, fine, strict=True) if good]
    made.vectors = made.vectors[fine]


def arrow(made: Made, schema: Any) -> Any:
    """The rows as an arrow table of this schema."""
    import pyarrow as pa

    place = schema.get_field_index("vector")
    dtype = np.float16 if schema.field(place).type.value_type == pa.float16() else np.float32
    columns = [pa.array([row.get(f.name) for row in made.rows], f.type) for f in schema if f.name != "vector"]
    vectors = pa.array(made.vectors.astype(dtype).ravel())
    columns.insert(place, pa.FixedSizeListArray.from_arrays(vectors, type=schema.field(place).type))
    return pa.Table.from_arrays(columns, schema=schema)


@dataclass(frozen=True)
class _Read:
    row: dict[str, Any]
    square: Tensor


def _read(task: tuple[Item, int, Keeping, Collection[str]]) -> _Read | Refusal | str:
    """A row without its vector, and the square that is embedded; the hash of what is known; or why not."""
    item, side, keeping, known = task
    try:
        data = content(item.path)
        key = sha256(data)
        if key in known:
            return key
        opened = decode(data, item.name)
    except ImageFileError as error:
        return Refusal(item.name, str(error))
    place = str(item.path.resolve())
    if keeping.paths and readable(place) != place:
        return Refusal(item.name, f"it lies in a folder whose name is not UTF-8, {readable(place)}; rename that")
    x = opened.pixels[None]
    stored: dict[str, Any] = {"format": opened.format, "path": place if keeping.paths else None}
    if not keeping.paths:
        small = reduced(data, keeping.longest) if keeping.longest else None
        kept, stored["format"] = small or (data, opened.format)
        stored |= {"picture": kept, "picture_sha256": sha256(kept)}
    row = {
        "sha256": key,
        "name": item.name,
        "height": x.shape[2],
        "width": x.shape[3],
        "bytes": len(data),
        "licence": item.licence,
        "source": item.source,
        "thumbnail": thumbnails(x).numpy().tobytes(),
        "added": datetime.now(UTC),
    }
    return _Read(row | stored, fit(x, side))
