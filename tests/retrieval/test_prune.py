"""Rows that nobody can use: removed by `prune`, and passed over by `nearest_readable`."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import torch

from pellucid.errors import ConfigError, ImageFileError
from pellucid.retrieval import Index, Keeping
from pellucid.retrieval.check import check
from pellucid.retrieval.prune import prune
from pellucid.retrieval.readable import nearest_readable
from tests.retrieval.conftest import draw


@pytest.fixture
def index(photos: Path, tmp_path: Path) -> Index:
    made = Index.create(tmp_path / "i", "pixel", keeping=Keeping(paths=True))
    made.add(photos)
    return made


def test_what_is_gone_or_changed_is_removed_and_the_rest_left(index: Index, photos: Path) -> None:
    (photos / "p001.png").unlink()
    draw(70).save(photos / "p002.png")
    told: list[int] = []
    would = dict(prune(index, dry=True))
    assert len(index) == 12 and set(would) == {"p001.png", "p002.png"}
    assert "does not exist" in would["p001.png"] and "has changed" in would["p002.png"]
    assert dict(prune(index, told=told.append)) == would and told == [12] and len(index) == 10 and check(index).fine
    assert prune(index) == []


def test_a_disk_that_is_missing_does_not_empty_an_index(index: Index, photos: Path, tmp_path: Path) -> None:
    photos.rename(tmp_path / "away")
    with pytest.raises(ConfigError, match=r"12 of the 12 rows .* would go"):
        prune(index)
    assert len(index) == 12
    (tmp_path / "away").rename(photos)
    assert prune(index) == []
    photos.rename(tmp_path / "away")
    assert len(prune(index, force=True)) == 12 and len(index) == 0
    assert index.measure() is None and index.maintain(256) is None


def test_contents_that_are_damaged_or_no_pictures_are_removed(photos: Path, tmp_path: Path) -> None:
    import hashlib

    index = Index.create(tmp_path / "i", "pixel")
    index.add(photos)
    text = b"no picture"
    index.table.update(where="name = 'p003.png'", values={"picture": text})
    index.table.update(
        where="name = 'p004.png'", values={"picture": text, "picture_sha256": hashlib.sha256(text).hexdigest()}
    )
    key, columns = hashlib.sha256((photos / "p005.png").read_bytes()).hexdigest(), index.table.schema
    vector = pa.array([[float("inf")] * 3072], columns.field("vector").type)
    infinite = pa.table([pa.array([key]), vector], schema=pa.schema([columns.field("sha256"), columns.field("vector")]))
    index.table.merge_insert("sha256").when_matched_update_all().execute(infinite)  # LanceDB refuses NaN alone
    found = dict(prune(index))
    assert set(found) == {"p003.png", "p004.png", "p005.png"} and len(index) == 9 and check(index).fine
    assert "sha256 differs" in found["p003.png"] and "no picture" in found["p004.png"]
    assert "not finite" in found["p005.png"]


def test_the_next_nearest_takes_the_place_of_what_cannot_be_read(index: Index, photos: Path) -> None:
    x = torch.rand(3, 40, 48, generator=torch.Generator().manual_seed(0))
    order = [one.name for one in index.search_pictures(x, 12)]
    found = nearest_readable(index, x, 4)
    assert [one.name for one in found.neighbours] == order[:4] and found.skipped == ()
    for name in (order[0], order[2], order[3], order[5]):
        (photos / name).unlink()
    found = nearest_readable(index, x, 4)
    assert [one.name for one in found.neighbours] == [order[1], order[4], order[6], order[7]]
    assert [name for name, _ in found.skipped] == [order[0], order[2], order[3], order[5]]
    for one, picture in zip(found.neighbours, found.pictures, strict=True):
        assert torch.equal(one.picture(), picture)
    assert len(nearest_readable(index, x, 11).neighbours) == 8  # as many as there are
    for path in photos.iterdir():
        path.unlink()
    with pytest.raises(ImageFileError, match=r"none of the 12 nearest pictures .* index prune"):
        nearest_readable(index, x, 4)
