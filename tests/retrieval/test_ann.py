"""Approximate search: what it finds is counted against exact search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from pellucid.bench.retrieval.clustered import CHUNK, Clustered
from pellucid.errors import CompatibilityError, ConfigError
from pellucid.retrieval import Index, ann
from pellucid.retrieval.check import check
from pellucid.retrieval.fit import THUMBNAIL

D = 32


def of(dimension: int = D, **options: Any) -> Clustered:
    return Clustered(dimension, clusters=40, groups=5, rank=16, **options)


class Vectors:
    """An embedder for tables whose vectors are given."""

    name, text, dimension, side, unit = "given:1", "", D, 8, True

    def pictures(self, x: Tensor) -> Tensor:
        return torch.nn.functional.normalize(x.flatten(1)[:, :D])

    def texts(self, words: object) -> Tensor:
        raise CompatibilityError("no words")


def rows(vectors: np.ndarray, index: Index, first: int = 0) -> pa.Table:
    count = len(vectors)
    made: dict[str, Any] = {
        "sha256": [f"{n:064x}" for n in range(first, first + count)],
        "name": [str(n) for n in range(first, first + count)],
        "format": ["PNG"] * count,
        "thumbnail": [bytes(3 * THUMBNAIL**2)] * count,
        "vector": list(vectors),
        "added": [0] * count,
    }
    for field in index.table.schema:
        made.setdefault(field.name, [("" if pa.types.is_string(field.type) else 0)] * count)
    made["path"] = made["picture"] = made["picture_sha256"] = [None] * count
    return pa.table({f.name: pa.array(made[f.name], f.type) for f in index.table.schema}, schema=index.table.schema)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    index = Index.create(tmp_path / "i", Vectors())
    index.table.add(rows(of().draw(1500, "collection"), index))
    return index


def exact(x: np.ndarray, query: np.ndarray, k: int) -> list[str]:
    return [str(n) for n in np.argsort(-(x @ query))[:k]]


SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("IVF_PQ", "IVF_HNSW_SQ")]


@pytest.mark.parametrize("kind", ["IVF_RQ", "IVF_FLAT", *SLOW])
def test_every_kind_finds_what_it_says_that_it_finds(kind: str, index: Index) -> None:
    x, queries = of().draw(1500, "collection"), of().draw(30)
    assert index.tuning is None
    tuning = index.build(kind, queries=30, k=10)
    assert tuning.kind == kind and tuning.recall >= 0.95 and tuning.k == 10 and tuning.queries == 30
    shares = []
    for query in queries:
        found = [n.name for n in index.search(torch.from_numpy(query), 10)]
        wanted = exact(x, query, 10)
        assert [n.name for n in index.search(torch.from_numpy(query), 10, exact=True)] == wanted
        shares.append(len(set(found) & set(wanted)) / 10)
    assert np.mean(shares) >= 0.93
    assert Index.open(index.uri).tuning == tuning  # whoever opens it searches it alike
    assert index.measure(30) == pytest.approx(tuning.recall, abs=0.06)


def test_rows_that_the_index_does_not_hold_yet_are_found(index: Index) -> None:
    index.build("IVF_FLAT", queries=20)
    late = of(seed=7).draw(50)
    index.table.add(rows(late, index, first=10_000))
    assert ann.kind_of(index.table) == ("IVF_FLAT", 50)
    assert [index.search(torch.from_numpy(v), 1)[0].name for v in late] == [str(10_000 + n) for n in range(50)]
    assert index.maintain(256) is None  # few: compared exactly
    index.table.add(rows(of(seed=8).draw(1000), index, first=20_000))
    tuning = index.maintain(256)
    assert tuning is not None and tuning.rows == 2550
    found = ann.kind_of(index.table)
    assert found == ("IVF_FLAT", 0)


def test_small_tables_are_searched_exactly_and_large_ones_are_indexed(index: Index) -> None:
    assert index.maintain(1600) is None and index.measure() is None
    tuning = index.maintain(1500)
    assert tuning is not None and tuning.kind == "IVF_RQ" and index.tuning == tuning
    assert check(index, pictures=False).recall is not None


def test_a_growing_table_keeps_an_index(index: Index) -> None:
    index.keep_up(1600)
    assert index.tuning is None  # too small
    index.keep_up(1500, "IVF_FLAT")
    assert index.tuning is not None and index.tuning.rows == 1500
    index.table.add(rows(of(seed=5).draw(1500), index, first=10_000))
    index.keep_up(2000)
    assert ann.kind_of(index.table) == ("IVF_FLAT", 1500)  # few enough to be compared exactly
    index.keep_up(1500)
    assert ann.kind_of(index.table) == ("IVF_FLAT", 0) and index.tuning.rows == 1500
    index.table.add(rows(of(seed=6).draw(3000), index, first=20_000))
    index.keep_up(1500)
    assert ann.kind_of(index.table) == ("IVF_FLAT", 0) and index.tuning.rows == 6000


def test_kinds_and_their_dimensions() -> None:
    assert type(ann.configuration("IVF_RQ", 1280)).__name__ == "IvfRq"
    assert type(ann.configuration("IVF_RQ", 12)).__name__ == "IvfFlat"
    assert ann.configuration("IVF_PQ", 512).num_sub_vectors == 64
    assert ann.configuration("IVF_PQ", 7).num_sub_vectors == 7
    with pytest.raises(ConfigError, match="not 'HNSW'"):
        ann.configuration("HNSW", 8)


def test_exact_neighbours_of_a_stream() -> None:
    x, queries = of().draw(3000, "collection"), of().draw(9)
    nearest = ann.Nearest(queries, 7)
    for part in range(0, 3000, 500):
        nearest.see(x[part : part + 500], range(part, part + 500))
    assert nearest.labels.tolist() == [[int(n) for n in exact(x, query, 7)] for query in queries]
    few = ann.Nearest(queries, 7)
    few.see(x[:3], list("abc"))
    assert few.labels.shape == (9, 3) and sorted(few.labels[0]) == ["a", "b", "c"]


def test_an_index_that_cannot_reach_the_target_says_so(index: Index) -> None:
    ann.build(index.table, "IVF_FLAT", D)
    queries = of().draw(5)
    impossible = np.full((5, 3), "nobody", object)
    with pytest.warns(UserWarning, match=r"finds 0\.000 of the nearest 3, less than 0\.95"):
        assert ann.tune(index.table, "IVF_FLAT", queries, impossible).recall == 0


def test_the_generator_is_repeatable_and_its_streams_are_apart() -> None:
    made = of(seed=3)
    x = made.draw(CHUNK + 100, "collection")
    assert np.array_equal(x, of(seed=3).draw(CHUNK + 100, "collection"))
    assert np.array_equal(x[:CHUNK], next(made.chunks(CHUNK, "collection")))
    assert not np.allclose(x[:50], made.draw(50)) and not np.allclose(x[:50], of(seed=4).draw(50, "collection"))
    assert np.abs(np.linalg.norm(x, axis=1) - 1).max() < 1e-5


def test_its_vectors_lie_in_clusters() -> None:
    x = Clustered(128, clusters=30, groups=5, rank=32).draw(2000, "collection")
    cosines = x @ x.T - 2 * np.eye(len(x))
    nearest, typical = np.sort(cosines, 1)[:, -20].mean(), np.median(cosines)
    independent = np.random.default_rng(0).standard_normal((2000, 128))
    independent /= np.linalg.norm(independent, axis=1, keepdims=True)
    alone = np.sort(independent @ independent.T - 2 * np.eye(2000), 1)[:, -20].mean()
    assert nearest > typical + 0.25 and nearest > alone + 0.1
    turned = Clustered(128).disturbed(x[:100], 0.9)
    assert (turned * x[:100]).sum(1) == pytest.approx(0.9, abs=1e-5)
    assert np.abs(np.linalg.norm(turned, axis=1) - 1).max() < 1e-5
