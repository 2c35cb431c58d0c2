"""Tables that somebody made or changed on purpose: refused with what is wrong, whatever they hold."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from pellucid.errors import ConfigError
from pellucid.retrieval import Index
from pellucid.retrieval.check import check
from pellucid.retrieval.prune import prune
from pellucid.retrieval.record import schema
from tests.retrieval.conftest import fill

ABOUT: dict[str, Any] = {"format": 1, "embedder": "pixel:32", "text": "pixel", "dimension": 5, "unit": False}


def database(place: Path, about: str, columns: pa.Schema | None = None) -> Path:
    import lancedb

    made = (columns or schema(5, False, {})).with_metadata({"pellucid": about})
    lancedb.connect(place).create_table("pictures", schema=made)
    return place


def texts() -> list[str]:
    good = ABOUT | {"keeping": {}}
    changes: list[dict[str, Any]] = [{"dimension": value} for value in (float("inf"), 0, -1, 2**40, True, "5", None)]
    changes += [{"keeping": value} for value in (None, [1], {"longest": "x"}, {"longest": 0}, "ab")]
    changes += [{"format": value} for value in ([1], None, float("inf"), "x")]
    return ["[1]", '"x"', "[" * 100_000, "[" * 60_000, *(json.dumps(good | change) for change in changes)]


@pytest.mark.parametrize(
    "text", texts(), ids=lambda text: text[:12] + text[-30:] if len(text) < 500 else str(len(text))
)
def test_a_description_that_is_none(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no index of pictures"):
        Index.open(database(tmp_path / "i", text))


def test_other_columns_behind_a_good_description(tmp_path: Path) -> None:
    good, columns = json.dumps(ABOUT | {"keeping": {}}), schema(5, False, {})
    assert len(Index.open(database(tmp_path / "fine", good))) == 0
    others = [pa.schema([pa.field("a", pa.int32())]), schema(6, False, {}), schema(5, True, {})]
    others += [columns.remove(2), columns.append(pa.field("more", pa.string()))]
    for number, other in enumerate(others):
        with pytest.raises(ConfigError, match="its columns are others"):
            Index.open(database(tmp_path / str(number), good, other))


def test_notes_that_are_none(tmp_path: Path) -> None:
    fine = {"kind": "IVF_RQ", "nprobes": 2, "refine": 10, "recall": 0.9, "k": 20, "queries": 9, "rows": 9, "when": "x"}
    index = Index.create(tmp_path / "i", "pixel")
    for notes in ({"foo": 1, "when": "x"}, fine | {"nprobes": 2**40}, fine | {"recall": "x"}, {"kind": "IVF_RQ"}):
        index._database.create_table("tuning", data=[notes], mode="overwrite")
        with pytest.raises(ConfigError, match=r"remove its tuning\.lance"):
            Index.open(tmp_path / "i")
    index._database.create_table("tuning", data=[fine], mode="overwrite")
    assert Index.open(tmp_path / "i")._tuning is not None
    index._database.create_table("tuning", data=[{"foo": 1}], mode="overwrite")
    shutil.rmtree(tmp_path / "i" / "tuning.lance")  # the remedy
    assert Index.open(tmp_path / "i").tuning is None


def test_keys_that_are_none(tmp_path: Path) -> None:
    photos, index = fill(tmp_path / "photos", 3), Index.create(tmp_path / "i", "pixel")
    index.add(photos)
    hostile = "' OR 1=1 --"
    index.table.update(where="name = 'p000.png'", values={"sha256": "zz"})
    index.table.update(where="name = 'p001.png'", values={"sha256": hostile})
    assert dict(check(index).counts) == {"key": 2}
    assert len(index.search(torch.zeros(3072), 9)) == 3
    done = index.add(photos)
    assert (done.added, done.already) == (2, 1)
    assert sorted(prune(index)) == [(name, "its key is no SHA-256") for name in ("p000.png", "p001.png")]
    assert len(index) == 3 and check(index).fine


def test_files_of_the_table_that_are_gone(tmp_path: Path) -> None:
    index = Index.create(tmp_path / "i", "pixel")
    index.add(fill(tmp_path / "photos", 2))
    for path in (tmp_path / "i" / "pictures.lance" / "data").iterdir():
        path.unlink()
    found = Index.open(tmp_path / "i")
    with pytest.raises(ConfigError, match="cannot be searched"):
        found.search(torch.zeros(3072), 1)
    with pytest.raises(ConfigError, match="cannot be read"):
        check(found)


@pytest.mark.parametrize("k", [3, 10**6, 2**31, 2**40, 2**70])
def test_any_number_of_neighbours_may_be_asked_for(k: int, tmp_path: Path) -> None:
    index = Index.create(tmp_path / "i", "pixel")
    assert index.search(torch.zeros(3072), k) == []
    index.add(fill(tmp_path / "photos", 3))
    assert len(index.search(torch.zeros(3072), k)) == 3
