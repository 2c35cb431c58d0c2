"""The collection: made, added to, searched."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import CompatibilityError, ConfigError, ShapeError, require_range
from pellucid.retrieval import ann
from pellucid.retrieval.contention import Busy, retried
from pellucid.retrieval.embedder import Embedder, embedder, unit
from pellucid.retrieval.fit import THUMBNAIL, thumbnails
from pellucid.retrieval.hashing import hexadecimal
from pellucid.retrieval.mending import mend
from pellucid.retrieval.neighbour import COLUMNS, Neighbour
from pellucid.retrieval.record import Keeping, Made, arrow, make
from pellucid.retrieval.source import Item, Refusal, items, parts
from pellucid.retrieval.table import (
    About,
    append,
    connect,
    create_table,
    open_table,
    read_tuning,
    require_same,
    write_tuning,
)

THRESHOLD = 20_000  # rows from which on an index is built
FEWEST = 256  # rows of an index
BATCH = 256  # pictures of a version
NEAR = 0.25  # 1 - cosine of what may be a copy; docs/retrieval.md says what it was measured on
SAME = 0.004  # mean squared error of the thumbnails of a copy
GROWN = 4  # times the rows that an index was measured with
STALE = 0.1  # share of rows that an index may lack


@dataclass
class Added:
    """What became of the files.

    Attributes:
        added: rows that are new.
        already: files whose content the table had.
        mended: of these, rows that now say where the file lies, or its licence; see `mend`.
        near: (name, name of what it is nearly a copy of), added nevertheless unless that was forbidden.
        skipped: those of `near` that were not added.
        corrupt: files that gave no row, and why.
        notes: what was put off, for people.
    """

    added: int = 0
    already: int = 0
    mended: int = 0
    near: list[tuple[str, str]] = field(default_factory=list)
    skipped: int = 0
    corrupt: list[Refusal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def files(self) -> int:
        """All that have been looked at."""
        return self.added + self.already + self.skipped + len(self.corrupt)


class Index:
    """A collection of pictures with their embeddings in one LanceDB table, in a folder or an object store.

    Made by `create` or `open`. Everything that `add` has committed is there after a crash, and nothing is there twice,
    however often it is repeated and however many write.
    """

    def __init__(
        self, uri: str | Path, database: Any, table: Any, about: About, embed: Embedder | None, device: str
    ) -> None:
        self.uri, self.about, self.device = uri, about, device
        self._database, self._table, self._embedder = database, table, embed
        self._tuning = read_tuning(database)

    @classmethod
    def open(
        cls,
        uri: str | Path,
        embed: Embedder | None = None,
        *,
        device: str = "cpu",
        options: dict[str, str] | None = None,
    ) -> Index:
        """An index that is there.

        Args:
            uri: its folder, or s3://bucket/name, gs://, az://.
            embed: its embedder; None: the one that it was made with, when it is first needed.
            device: where the network of that one goes.
            options: of the object store, such as its region; credentials are taken from the environment.

        Raises:
            ConfigError: LanceDB is not installed, or there is no index.
            CompatibilityError: the index is of another embedder.
        """
        database = connect(uri, options)
        table, about = open_table(database, uri)
        if embed is not None:
            require_same(about, embed.name, uri)
        return cls(uri, database, table, about, embed, device)

    @classmethod
    def create(
        cls,
        uri: str | Path,
        embed: Embedder | str = "effnet",
        *,
        keeping: Keeping | None = None,
        device: str = "cpu",
        options: dict[str, str] | None = None,
    ) -> Index:
        """An empty index, or the one that is there already, if it is of the same embedder and keeps the same.

        Args:
            uri, device, options: see `open`.
            embed: an embedder, or the text of one.
            keeping: what is kept of a picture; the file's content, if not given.

        Raises:
            ConfigError: LanceDB is not installed, the place cannot be used, or the index there keeps something else.
            CompatibilityError: the index there is of another embedder.
        """
        made = embedder(embed, device) if isinstance(embed, str) else embed
        wanted = keeping or Keeping()
        database = connect(uri, options, make=True)
        about = About(made.name, made.text, made.dimension, made.unit, wanted)
        table, found = create_table(database, uri, about)
        require_same(found, made.name, uri)
        if keeping is not None and found.keeping != wanted:
            raise ConfigError(f"{uri} was made with {found.keeping}, not with {wanted}; build another index")
        return cls(uri, database, table, found, made, device)

    def __len__(self) -> int:
        return int(self._table.count_rows())

    @property
    def table(self) -> Any:
        """LanceDB's own."""
        return self._table

    @property
    def tuning(self) -> ann.Tuning | None:
        """How the table's index is searched; None where there is none and every search is exact."""
        return self._tuning if ann.kind_of(self._table) is not None else None

    @property
    def embedder(self) -> Embedder:
        """What makes the vectors, loaded when it is first needed.

        Raises:
            CompatibilityError: what now has that name is another one.
            UnknownNameError, PriorError, MetricError: it cannot be had any more.
        """
        if self._embedder is None:
            if not self.about.text:
                raise CompatibilityError(f"{self.uri} is of {self.about.embedder}; give that embedder to Index.open")
            made = embedder(self.about.text, self.device)
            require_same(self.about, made.name, self.uri)
            self._embedder = made
        return self._embedder

    def add(
        self,
        source: Path | str | Iterable[Path | str],
        *,
        licence: str | None = None,
        origin: str | None = None,
        batch: int = BATCH,
        workers: int | None = None,
        near: bool = True,
        skip_near: bool = False,
        ray: bool = False,
        kind: str | None = "IVF_RQ",
        threshold: int = THRESHOLD,
        told: Callable[[Added], None] | None = None,
    ) -> Added:
        """Adds pictures; whatever is there already, by its content, is left alone.

        But where its row names a file that is gone, or no licence, and this file does better, the row is mended.

        Every batch is one version of the table, whole or not there. A run that was killed is repeated, and goes on
        where it was.

        Args:
            source: a folder, a picture, a list (.txt), or several of them; see `source.items`.
            licence, origin: of files that no SOURCES.tsv names.
            batch: pictures of a version.
            workers: threads that read and decode; with `ray`, processes on all machines. As many as there are cores, if
                not given.
            near: look for near-duplicates, in the table and within the batch.
            skip_near: and leave them out.
            ray: embed on the machines of a Ray cluster; the files must be readable there under the same paths.
            kind, threshold: of the index that is kept while the table grows, so that looking for near-duplicates stays
                quick, see `keep_up`; None: none.
            told: is called after every batch.

        Raises:
            ConfigError: there is no such source, no such kind of index, the table cannot be written to, or Ray is not
                installed.
            CompatibilityError: `batch` is below 1, or `threshold` below 256.
        """
        require_range("batch", batch, 1)
        if kind is not None:  # found out before the work
            require_range("threshold", threshold, FEWEST)
            ann.configuration(kind, self.about.dimension)
        files, done, grown = items(source, licence, origin), Added(), 0
        known, nameless = self._known()
        for made in self._made(files, batch, workers, known, ray):
            twins = self._twins(made) if (near or skip_near) and made.rows else {}
            rows = [row for row in made.rows if not (skip_near and row["sha256"] in twins)]
            done.near += [(row["name"], twins[row["sha256"]]) for row in made.rows if row["sha256"] in twins]
            done.skipped += len(made.rows) - len(rows)
            kept = [n for n, row in enumerate(made.rows) if not (skip_near and row["sha256"] in twins)]
            new = append(self._table, arrow(Made(rows, made.vectors[kept]), self._table.schema)) if rows else 0
            done.added += new
            done.already += len(made.already) + len(rows) - new
            done.mended += mend(self._table, made.already, nameless, paths=self.about.keeping.paths)
            done.corrupt += made.refused
            grown += new
            if kind is not None and grown >= threshold:
                try:
                    self.keep_up(threshold, kind)
                except Busy as error:  # the rows are there, and searches compare them exactly
                    done.notes.append(f"{error}; the next `index add` takes the new rows into it")
                grown = 0
            if told:
                told(done)
        return done

    def search(self, query: Tensor, k: int = 20, *, exact: bool = False, pictures: bool = True) -> list[Neighbour]:
        """The k nearest, nearest first.

        Args:
            query: an embedding, (d,).
            k: how many; fewer where the table has fewer.
            exact: compare with every vector, though there is an index.
            pictures: fetch the contents too, for `Neighbour.picture`.

        Raises:
            ShapeError: the query is no vector of this table's dimension, or not finite.
        """
        if query.shape != (self.about.dimension,) or not bool(torch.isfinite(query).all()):
            raise ShapeError(f"a query is {self.about.dimension} finite numbers, not {tuple(query.shape)}")
        require_range("k", k, 1)
        vector = query.detach().cpu().numpy().astype(np.float32)
        columns = [*COLUMNS, "picture"] if pictures else COLUMNS
        found = ann.ask(self._table, vector, min(int(k), max(1, len(self))), columns, None if exact else self.tuning)
        return [self._neighbour(row) for row in found.to_pylist()]

    def search_pictures(self, x: Tensor, k: int = 20, *, exact: bool = False, pictures: bool = True) -> list[Neighbour]:
        """The k nearest to the mean of the pictures' embeddings, brought back to length 1 where the table's have it.

        Args:
            x: (n, 1 or 3, h, w) in [0, 1], or one picture, (1 or 3, h, w).
            k, exact, pictures: see `search`.

        Raises:
            ShapeError: these are no pictures.
        """
        return self.search(self.embed(x), k, exact=exact, pictures=pictures)

    def search_text(self, words: str, k: int = 20, *, exact: bool = False, pictures: bool = True) -> list[Neighbour]:
        """The k pictures nearest to a text.

        Raises:
            CompatibilityError: the embedder has no text tower.
        """
        return self.search(self.embedder.texts([words])[0], k, exact=exact, pictures=pictures)

    def embed(self, x: Tensor) -> Tensor:
        """(n, c, h, w) or (c, h, w) -> (d,): the mean of their embeddings, of length 1 where the table's are."""
        vectors = self.embedder.pictures(x[None] if x.ndim == 3 else x)
        mean = vectors.mean(0)
        return unit(mean) if self.about.unit else mean

    def near_duplicates(self, x: Tensor, threshold: float | None = None, same: float = SAME) -> list[Neighbour]:
        """Rows that are copies of a picture, but for compression, size and small changes of tone; searched exactly.

        An empty list says that no picture of the collection, taken as a whole, is one of these. It says nothing of
        crops, mirror images or parts.

        Args:
            x: (n, 1 or 3, h, w) in [0, 1]; the copies of any of them are returned.
            threshold: largest distance of the embeddings; 0.25 (1 - cosine), of the pixel embedder as `same`.
            same: largest mean squared error of thumbnails of 16 x 16, whose values are in [0, 1].
        """
        x = x[None] if x.ndim == 3 else x
        limit = self._near if threshold is None else threshold
        found: dict[str, Neighbour] = {}
        for vector, thumbnail in zip(self.embedder.pictures(x), thumbnails(x), strict=True):
            for one in self.search(vector, 10, exact=True):
                if one.distance <= limit and thumbnail_error(thumbnail, one.thumbnail) <= same:
                    found.setdefault(one.sha256, one)
        return sorted(found.values(), key=lambda one: one.distance)

    def build(self, kind: str = "IVF_RQ", *, queries: int = 100, k: int = 20, target: float = ann.TARGET) -> ann.Tuning:
        """Builds the index of vectors and finds how far it has to be searched.

        Args:
            kind: see `ann.configuration`.
            queries: vectors of the table, turned by the angle of cosine 0.9, with which recall is measured.
            k: neighbours of that measurement.
            target: recall that searches shall have.

        Raises:
            Busy: others changed the table whenever the index was to be committed.
            ConfigError: there is no such kind, or the table is too small for one.
        """
        if len(self) < FEWEST:
            raise ConfigError(
                f"{self.uri} has {len(self)} rows: below {FEWEST} there is nothing to be gained by an index"
            )
        ann.build(self._table, kind, self.about.dimension)
        return self._tune(queries, k, target)

    def keep_up(self, threshold: int = THRESHOLD, kind: str = "IVF_RQ") -> None:
        """What a growing table needs now and then.

        From `threshold` rows on an index, another when the table is four times as large, and otherwise that the one
        there is takes in the latest rows, without being measured.

        Raises:
            Busy: others changed the table whenever the index was to be committed; another time will do.
        """
        found, rows = ann.kind_of(self._table), len(self)
        if found is None or self._tuning is None or rows >= GROWN * self._tuning.rows:
            if rows >= max(threshold, FEWEST):
                self.build(kind if found is None else found[0])
        elif found[1] >= threshold:
            self._optimise()

    def maintain(self, threshold: int = THRESHOLD, kind: str = "IVF_RQ") -> ann.Tuning | None:
        """What a table needs after it has grown: small files joined, and from `threshold` rows on an index.

        Rows that an index does not hold yet are found nevertheless, by comparing them exactly; when they are more than
        a tenth, the index takes them in and is measured anew.

        Returns:
            The new measurement; None where there was nothing to do.

        Raises:
            Busy: others changed the table whenever the index was to be committed; another time will do.
        """
        if len(self._fragments()) > 20:
            self._optimise()
        found = ann.kind_of(self._table)
        if found is None:
            return self.build(kind) if len(self) >= threshold else None
        if len(self) < FEWEST:  # rows were removed
            return None
        if found[1] <= STALE * len(self) and self._tuning is not None:
            return None
        if self._tuning is None or len(self) >= GROWN * self._tuning.rows:
            return self.build(found[0])
        self._optimise()
        return self._tune()

    def measure(self, queries: int = 100, k: int = 20) -> float | None:
        """Recall of the index against exact search; None where there is no index. Raises nothing: it is a figure."""
        tuning = self.tuning
        if tuning is None or not len(self):
            return None
        asked = self._queries(queries)
        truth = ann.exact(self._table, asked, k)
        return float(ann.recalls(self._table, asked, truth, tuning).mean())

    @property
    def _near(self) -> float:
        return NEAR if self.about.unit else SAME

    def _tune(self, queries: int = 100, k: int = 20, target: float = ann.TARGET) -> ann.Tuning:
        found = ann.kind_of(self._table)
        asked = self._queries(queries)
        truth = ann.exact(self._table, asked, min(k, len(self)))
        self._tuning = ann.tune(self._table, found[0] if found else "", asked, truth, target)
        write_tuning(self._database, self._tuning)
        return self._tuning

    def _queries(self, count: int) -> np.ndarray:
        """Vectors of the table, turned away as a degradation turns a picture's: repeatable, (n, d)."""
        rng = np.random.default_rng(0)
        places = rng.choice(len(self), min(count, len(self)), replace=False)
        column = self._table.take_offsets(sorted(map(int, places))).select([ann.COLUMN]).to_arrow().combine_chunks()
        x = ann.matrix(column.to_batches()[0])
        away = rng.standard_normal(x.shape, dtype=np.float32)
        spread = np.linalg.norm(x - x.mean(0) * (not self.about.unit), axis=1, keepdims=True)
        turned = x + 0.48 * spread * away / np.linalg.norm(away, axis=1, keepdims=True)  # tan(arccos 0.9) = 0.48
        length = np.linalg.norm(turned, axis=1, keepdims=True) if self.about.unit else 1
        return (turned / length).astype(np.float32)

    def _known(self) -> tuple[set[bytes], set[str]]:
        """The keys that are there, and those of rows without a licence. Damaged keys are nobody's: `verify` tells."""
        keys: set[bytes] = set()
        nameless: set[str] = set()
        for batch in ann.batches(self._table, ["sha256", "licence"]):
            for key, licence in zip(
                batch.column("sha256").to_pylist(), batch.column("licence").to_pylist(), strict=True
            ):
                if (digits := hexadecimal(key)) is not None:
                    keys.add(digits)
                    if not licence:
                        nameless.add(key)
        return keys, nameless

    def _made(
        self, files: Iterator[Item | Refusal], batch: int, workers: int | None, known: set[bytes], ray: bool
    ) -> Iterator[Made]:
        """Batch by batch, in order."""
        keys = Known(known)
        batches = parts(files, batch)
        if ray:
            from pellucid.retrieval.cluster import spread

            yield from spread(batches, self.about, keys, workers, self.device)
            return
        with ThreadPoolExecutor(workers or cores()) as pool:
            for part in batches:
                made = make([p for p in part if isinstance(p, Item)], self.embedder, self.about.keeping, keys, pool)
                yield replace(made, refused=[*(p for p in part if isinstance(p, Refusal)), *made.refused])

    def _twins(self, made: Made) -> dict[str, str]:
        """{sha256: name of what it is nearly a copy of, in the table or earlier in the batch}."""
        found: dict[str, str] = {}
        small = [np.frombuffer(row["thumbnail"], np.uint8) for row in made.rows]
        scale = 2 if self.about.unit else self.about.dimension
        tuning, empty = self.tuning, not len(self)
        squares = (made.vectors**2).sum(1)
        inside = (squares[:, None] + squares - 2 * made.vectors @ made.vectors.T) / scale
        columns = ["name", "sha256", "thumbnail"]
        for n, row in enumerate(made.rows):
            near = [] if empty else ann.ask(self._table, made.vectors[n], 3, columns, tuning).to_pylist()
            twins = [
                one["name"]
                for one in near
                if one["_distance"] / scale <= self._near
                and one["sha256"] != row["sha256"]
                and _error(small[n], np.frombuffer(one["thumbnail"], np.uint8)) <= SAME
            ]
            twins += [
                made.rows[other]["name"]
                for other in np.flatnonzero(inside[n, :n] <= self._near)
                if made.rows[other]["sha256"] not in found and _error(small[n], small[other]) <= SAME
            ]
            if twins:
                found[row["sha256"]] = twins[0]
        return found

    def _neighbour(self, row: dict[str, Any]) -> Neighbour:
        distance = row["_distance"] / (2 if self.about.unit else self.about.dimension)
        return Neighbour(
            row["name"],
            max(0.0, float(distance)),
            row["licence"],
            row["source"],
            row["sha256"],
            row["height"],
            row["width"],
            row["thumbnail"],
            row["path"],
            row.get("picture"),
            row["picture_sha256"],
        )

    def _fragments(self) -> Sequence[Any]:
        return range(int(self._table.stats()["fragment_stats"]["num_fragments"]))

    def _optimise(self) -> None:
        """Joins small files and lets the index take in new rows; left for later where others are writing."""
        with suppress(Busy):
            retried(self._table.optimize, f"cannot maintain {self.uri}")


class Known:
    """Hashes that are there, 32 bytes each rather than 64 letters.

    Args:
        keys: the hashes.
    """

    def __init__(self, keys: set[bytes]) -> None:
        self.keys = keys

    def __contains__(self, key: object) -> bool:
        return hexadecimal(key) in self.keys

    def __iter__(self) -> Iterator[str]:
        return (key.hex() for key in self.keys)

    def __len__(self) -> int:
        return len(self.keys)


def thumbnail_error(x: Tensor, stored: bytes) -> float:
    """Mean squared difference of a thumbnail, (3, 16, 16) uint8, and a stored one, values taken for [0, 1]."""
    assert x.numel() == 3 * THUMBNAIL**2
    return _error(x.numpy().ravel(), np.frombuffer(stored, np.uint8))


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _error(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.square((x.astype(np.float32) - y.astype(np.float32)) / 255).mean())
