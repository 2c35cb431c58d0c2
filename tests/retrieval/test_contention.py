"""Several programs change one table: changes that were taken back are made again, and none stops the work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pellucid.errors import CompatibilityError, ConfigError
from pellucid.retrieval import Index, ann, contention
from pellucid.retrieval.contention import ATTEMPTS, Busy, retried
from tests.retrieval.conftest import fill
from tests.retrieval.test_ann import Vectors, of, rows

TAKEN_BACK = (
    "lance error: Retryable commit conflict for version 7: This CreateIndex was preempted by Rewrite, /lance/src/x.rs"
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contention, "PAUSE", 0.0)


class Conflicts:
    """A change that LanceDB takes back `times` times."""

    def __init__(self, then: Any, times: int) -> None:
        self.then, self.left, self.calls = then, times, 0

    def __call__(self, *rest: Any, **options: Any) -> Any:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise RuntimeError(TAKEN_BACK)
        return self.then(*rest, **options)


def test_a_change_is_made_again_until_it_holds_and_for_no_other_reason() -> None:
    change = Conflicts(lambda: 5, 3)
    assert retried(change, "cannot") == 5 and change.calls == 4
    change = Conflicts(lambda: 5, 99)
    with pytest.raises(Busy, match=r"^cannot, others are changing it: .*preempted by Rewrite$"):
        retried(change, "cannot")
    assert change.calls == ATTEMPTS
    calls = []

    def full() -> None:
        calls.append(1)
        raise OSError("no space left")

    with pytest.raises(ConfigError, match="cannot write: no space left") as caught:
        retried(full, "cannot write")
    assert len(calls) == 1 and not isinstance(caught.value, Busy)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    index = Index.create(tmp_path / "i", Vectors())
    index.table.add(rows(of().draw(300, "collection"), index))
    return index


def test_an_index_is_built_though_others_write(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    build = Conflicts(index.table.create_index, 2)
    monkeypatch.setattr(type(index.table), "create_index", lambda _, *rest, **options: build(*rest, **options))
    assert index.build("IVF_FLAT", queries=5).rows == 300 and build.calls == 3
    assert ann.kind_of(index.table) == ("IVF_FLAT", 0)


def test_pictures_are_added_though_the_index_cannot_be_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    folder, index = tmp_path / "many", Index.create(tmp_path / "i", "pixel")
    folder.mkdir()
    for number in range(300):
        Image.new("RGB", (4, 4), (number % 256, number // 256, 0)).save(folder / f"{number:03d}.png")
    build = Conflicts(None, 10**9)
    monkeypatch.setattr(type(index.table), "create_index", lambda _, *rest, **options: build())
    done = index.add(folder, near=False, batch=260, threshold=256, workers=1)
    assert done.added == len(index) == 300 and build.calls == ATTEMPTS
    (line,) = done.notes
    assert "cannot build the index of vectors, others are changing it" in line and "the next `index add`" in line
    monkeypatch.undo()
    assert index.maintain(256, "IVF_FLAT") is not None


@pytest.mark.parametrize(("words", "message"), [({"threshold": 4}, "at least 256, not 4"), ({"kind": "HNSW"}, "HNSW")])
def test_an_index_that_cannot_be_is_said_before_rows_go_in(words: Any, message: str, tmp_path: Path) -> None:
    index = Index.create(tmp_path / "i", "pixel")
    with pytest.raises((CompatibilityError, ConfigError), match=message):
        index.add(fill(tmp_path / "photos", 6), batch=2, **words)
    assert len(index) == 0
