"""Rows whose files have moved, or whose licence becomes known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pellucid.errors import CompatibilityError
from pellucid.retrieval import Index, Keeping
from pellucid.retrieval.check import check
from tests.retrieval.conftest import draw, fill


def told(index: Index) -> dict[str, tuple[str, str, str]]:
    found = index.search(torch.zeros(index.about.dimension), 50)
    return {one.name: (one.path or "", one.licence, one.source) for one in found}


def test_a_folder_that_was_renamed_is_added_again(tmp_path: Path) -> None:
    index = Index.create(tmp_path / "i", "pixel", keeping=Keeping(paths=True))
    old = fill(tmp_path / "old", 5)
    index.add(old, licence="CC0", origin="here")
    (old / "p004.png").rename(tmp_path / "p004.png")
    draw(99).save(old / "p003.png")  # another picture under its name
    (tmp_path / "copy.png").write_bytes((old / "p000.png").read_bytes())
    done = index.add([tmp_path / "p004.png", tmp_path / "copy.png"])
    assert (done.added, done.already, done.mended) == (0, 2, 1)  # the copy's own file is where it was
    old.rename(tmp_path / "new")
    assert check(index).counts["missing"] == 4
    done = index.add(tmp_path / "new", batch=2, licence="CC-BY")
    assert (done.added, done.already, done.mended) == (1, 3, 3)
    found = told(index)
    assert found["p001.png"] == (str(tmp_path / "new" / "p001.png"), "CC-BY", "here")
    assert found["p004.png"] == (str(tmp_path / "p004.png"), "CC0", "here")
    assert len(index) == 6 and dict(check(index).counts) == {"missing": 1}  # the old p003
    assert index.add(tmp_path / "new").mended == 0


def test_a_licence_that_was_unknown_is_taken_and_none_is_replaced(tmp_path: Path) -> None:
    index, photos = Index.create(tmp_path / "i", "pixel"), fill(tmp_path / "photos", 3)
    index.add(photos / "p000.png", licence="MIT", origin="a")
    index.add(photos)
    assert index.add(photos).mended == 0
    done = index.add(photos, licence="CC0", origin="b")
    assert (done.already, done.mended, len(index)) == (3, 2, 3)
    found = told(index)
    assert found["p000.png"] == ("", "MIT", "a") and found["p001.png"] == ("", "CC0", "b") == found["p002.png"]
    assert check(index).fine


class Blind:
    """An embedder whose network gives NaN for dark pictures, and 1e6 for bright ones."""

    name, text, dimension, side, unit = "blind:1", "", 2, 4, False

    def pictures(self, x: Tensor) -> Tensor:
        level = x.mean((1, 2, 3))
        level = torch.where(level < 0.2, torch.nan, torch.where(level > 0.9, 1e6, level))
        return level[:, None].expand(-1, 2).clone()

    def texts(self, words: object) -> Tensor:
        raise CompatibilityError("no words")


@pytest.mark.parametrize(("half", "refused"), [(False, ["dark.png"]), (True, ["bright.png", "dark.png"])])
def test_an_embedding_that_is_not_finite_is_refused(half: bool, refused: list[str], tmp_path: Path) -> None:
    from PIL import Image

    photos = tmp_path / "photos"
    photos.mkdir()
    for name, level in (("dark", 0), ("grey", 128), ("bright", 255)):
        Image.new("RGB", (8, 8), (level,) * 3).save(photos / f"{name}.png")
    index = Index.create(tmp_path / "i", Blind(), keeping=Keeping(half=half))
    done = index.add(photos)
    assert [one.name for one in done.corrupt] == refused and done.added == 3 - len(refused)
    assert all("not finite" in one.reason for one in done.corrupt) and check(index).fine
