"""Approximate nearest neighbours in a LanceDB table, with their recall measured against exact search."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np

from pellucid.errors import ConfigError
from pellucid.retrieval.contention import retried, said

COLUMN, KEY = "vector", "sha256"
TARGET = 0.95
REFINE = (10, 40)  # how many times k are compared exactly, after the index has chosen by its short codes
LONGEST = timedelta(hours=24)
ROWS = 8192  # of a batch that is read


@dataclass(frozen=True)
class Tuning:
    """How an index is searched, and what that gives.

    Attributes:
        kind: of the index: IVF_RQ, IVF_PQ, IVF_HNSW_SQ, IVF_FLAT.
        nprobes: how many partitions are looked into.
        refine: how many times k of the nearest by code are compared by their vectors.
        recall: mean share of the exact k nearest that are found.
        k, queries: of that measurement.
        rows: of the table when it was measured.
    """

    kind: str
    nprobes: int
    refine: int
    recall: float = float("nan")
    k: int = 20
    queries: int = 0
    rows: int = 0

    def about(self) -> dict[str, Any]:
        """For the record."""
        return asdict(self)


def configuration(kind: str, dimension: int, **options: Any) -> Any:
    """LanceDB's own description of an index on squared Euclidean distance.

    Args:
        kind: IVF_RQ (RaBitQ, one bit a dimension: Gao and Long, SIGMOD 2024), IVF_PQ (product quantisation),
            IVF_HNSW_SQ (a graph of bytes), IVF_FLAT.
        dimension: of the vectors; IVF_RQ needs a multiple of 8 and gives way to IVF_FLAT where it is none.
        options: LanceDB's, instead of those chosen here.

    Raises:
        ConfigError: there is no such kind.
    """
    from lancedb import index

    # Centroids need no more: 64 vectors for each, and k-means has settled after 20 rounds.
    common = {"distance_type": "l2", "max_iterations": 20, "sample_rate": 64}
    if kind == "IVF_RQ" and dimension % 8:
        kind = "IVF_FLAT"
    if kind == "IVF_RQ":
        return index.IvfRq(**{**common, "num_bits": 1, **options})
    if kind == "IVF_PQ":
        parts = dimension // next(n for n in (8, 4, 2, 1) if not dimension % n)
        return index.IvfPq(**{**common, "num_sub_vectors": parts, **options})
    if kind == "IVF_HNSW_SQ":
        return index.HnswSq(**{**common, "m": 16, "ef_construction": 100, **options})
    if kind == "IVF_FLAT":
        return index.IvfFlat(**{**common, **options})
    raise ConfigError(f"an index is IVF_RQ, IVF_PQ, IVF_HNSW_SQ or IVF_FLAT, not {kind!r}")


def build(table: Any, kind: str, dimension: int, **options: Any) -> None:
    """Builds the index, in the place of another; until it is committed, searches use what was there before.

    Raises:
        Busy: others changed the table whenever it was to be committed.
        ConfigError: there is no such kind, or the table cannot be written to.
    """
    config = configuration(kind, dimension, **options)

    def make() -> None:
        table.create_index(COLUMN, config=config, replace=True, wait_timeout=LONGEST)

    retried(make, "cannot build the index of vectors")


def kind_of(table: Any) -> tuple[str, int] | None:
    """(kind, rows that it does not hold yet) of the table's vector index; None where there is none."""
    for config in table.list_indices():
        if COLUMN in config.columns:
            stats = table.index_stats(config.name)
            if stats is not None:  # or another has just put a new one in its place
                return stats.index_type, stats.num_unindexed_rows
    return None


def ask(table: Any, vector: np.ndarray, k: int, columns: Sequence[str], tuning: Tuning | None) -> Any:
    """The k nearest rows as an arrow table, nearest first, `_distance` being the squared Euclidean one.

    Args:
        table: of LanceDB.
        vector: (d,).
        k: how many; fewer if the table has fewer.
        columns: that are read.
        tuning: how the index is searched; None: exactly, every vector.

    Raises:
        ConfigError: files of the table are missing or damaged.
    """
    try:
        query = table.search(vector, vector_column_name=COLUMN).distance_type("l2").limit(k)
        query = query.select([*columns, "_distance"])
        if tuning is None:
            return query.bypass_vector_index().to_arrow()
        return query.nprobes(tuning.nprobes).refine_factor(tuning.refine).to_arrow()
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"the index cannot be searched: {said(error)}") from error


def batches(table: Any, columns: Sequence[str], rows: int = ROWS) -> Iterator[Any]:
    """The table's record batches, a few at a time. Raises `ConfigError` where its files are missing or damaged."""
    try:
        yield from table.search().select(list(columns)).to_batches(rows)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"the index cannot be read: {said(error)}") from error


def matrix(batch: Any) -> np.ndarray:
    """(n, d) float32 of a batch's vectors."""
    column = batch.column(COLUMN)
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1).astype(np.float32, copy=False)


class Nearest:
    """The exact k nearest of a stream of vectors, for all queries at once.

    Args:
        queries: (n, d).
        k: how many.
    """

    def __init__(self, queries: np.ndarray, k: int) -> None:
        self.queries, self.k = queries.astype(np.float32), k
        self.distances = np.empty((len(queries), 0), np.float32)
        self.labels = np.empty((len(queries), 0), object)

    def see(self, x: np.ndarray, labels: Sequence[Any]) -> None:
        """Takes vectors (m, d) with their labels into account."""
        squares = (self.queries**2).sum(1)[:, None] + (x**2).sum(1) - 2 * self.queries @ x.T
        few = min(self.k, len(x))
        best = np.argpartition(squares, few - 1, axis=1)[:, :few]
        names = np.empty(len(labels), object)
        names[:] = labels
        found = np.concatenate([self.distances, np.take_along_axis(squares, best, 1)], 1)
        named = np.concatenate([self.labels, names[best]], 1)
        order = np.argsort(found, axis=1, kind="stable")[:, : self.k]
        self.distances, self.labels = np.take_along_axis(found, order, 1), np.take_along_axis(named, order, 1)


def exact(table: Any, queries: np.ndarray, k: int, key: str = KEY) -> np.ndarray:
    """(n, k) keys of the exact nearest of every query, by one pass over the table."""
    nearest = Nearest(queries, k)
    for batch in batches(table, [key, COLUMN]):
        nearest.see(matrix(batch), batch.column(key).to_pylist())
    return nearest.labels


def recalls(table: Any, queries: np.ndarray, truth: np.ndarray, tuning: Tuning, key: str = KEY) -> np.ndarray:
    """(n,) |found within truth| / k of every query."""
    k = truth.shape[1]
    shares = []
    for query, wanted in zip(queries, truth, strict=True):
        found = ask(table, query, k, [key], tuning).column(key).to_pylist()
        shares.append(len(set(found) & set(wanted)) / max(1, k))
    return np.array(shares)


def tune(
    table: Any, kind: str, queries: np.ndarray, truth: np.ndarray, target: float = TARGET, key: str = KEY
) -> Tuning:
    """The fewest partitions, 1, 2, 4, ..., by which the index finds `target` of the exact neighbours.

    The mean over the queries must exceed it by two standard errors: at the very edge, half of all other samples of
    queries would miss it. Where even all partitions do not reach it, more candidates are compared exactly; where that
    does not either, the best that there is, with a warning if that is below `target`.

    Args:
        table: with an index of this kind.
        kind: of the index.
        queries: (n, d).
        truth: their exact neighbours, (n, k), as `exact` gives them.
        target: recall.
        key: the column that `truth` is made of.
    """
    rows = table.count_rows()
    most = max(1, int(rows**0.5))
    best: Tuning | None = None
    for refine in REFINE:
        nprobes, before = 1, -1.0
        while True:
            tried = Tuning(kind, nprobes, refine, k=truth.shape[1], queries=len(queries), rows=rows)
            shares = recalls(table, queries, truth, tried, key)
            tried = replace(tried, recall=round(float(shares.mean()), 4))
            best = tried if best is None or tried.recall > best.recall else best
            if tried.recall - 2 * shares.std() / len(shares) ** 0.5 >= target:
                return tried
            stuck = nprobes >= 16 and tried.recall - before < 0.002  # the codes, not the partitions, are what lacks
            if nprobes >= most or stuck:
                break
            nprobes, before = 2 * nprobes, tried.recall
    assert best is not None
    if best.recall < target:
        short = f"the index finds {best.recall:.3f} of the nearest {best.k}, less than {target}"
        warnings.warn(f"{short}; rebuild it with another kind, or search exactly", stacklevel=2)
    return best
