"""Which files become rows, under which terms, and how many at once."""

from __future__ import annotations

import os
from pathlib import Path

from pellucid.retrieval import Index, Keeping
from pellucid.retrieval.source import Item, Refusal, items, parts
from tests.retrieval.conftest import draw, fill

TABLE = "file\tlicence\tsource\n"


def terms(*roots: Path) -> dict[str, str]:
    return {one.name: one.licence for one in items(roots, "proprietary") if isinstance(one, Item)}


def test_a_bare_name_is_not_that_of_a_file_in_a_folder_below(tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos", 2)
    fill(folder / "sub", 3)
    (folder / "SOURCES.tsv").write_text(TABLE + "p000.png\tCC0\thttp://a\nsub/p001.png\tCC-BY\thttp://b\n")
    wanted = {"p000.png": "CC0", "p001.png": "proprietary"}
    wanted |= {"sub/p000.png": "proprietary", "sub/p001.png": "CC-BY", "sub/p002.png": "proprietary"}
    assert terms(folder) == wanted
    assert terms(folder / "p000.png") == {"p000.png": "CC0"}  # a single file
    assert terms(folder / "sub" / "p000.png") == {"p000.png": "proprietary"}  # the table means its own p000.png
    (folder / "list.txt").write_text("p000.png\nsub/p000.png\nsub/p001.png\n")
    listed = {"p000.png": "CC0", "sub/p000.png": "proprietary", "sub/p001.png": "CC-BY"}
    assert terms(folder / "list.txt") == listed


def test_a_table_beside_the_folder_names_its_files_with_or_without_it(tmp_path: Path) -> None:
    folder = fill(tmp_path / "train", 3)
    fill(folder / "sub", 1)
    (tmp_path / "SOURCES.tsv").write_text(TABLE + "p000.png\tCC0\t\ntrain/p001.png\tMIT\t\n")
    wanted = {"p000.png": "CC0", "p001.png": "MIT", "p002.png": "proprietary", "sub/p000.png": "proprietary"}
    assert terms(folder) == wanted


def test_names_that_are_not_utf_8_and_loops_are_refused_by_name(tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos", 2)
    draw(9).save(tmp_path / "t.png")
    os.rename(tmp_path / "t.png", os.fsencode(folder) + b"/\xff.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    done = Index.create(tmp_path / "i", "pixel").add(folder)
    assert done.added == 2
    reasons = {one.name: one.reason for one in done.corrupt}
    assert set(reasons) == {"\\xff.png", "loop.png"}
    assert "not UTF-8" in reasons["\\xff.png"] and "loop" in reasons["loop.png"]
    (tmp_path / "list.txt").write_text("photos/p000.png\nphotos/loop.png\n" + "n" * 5000 + ".png\n")
    found = [type(one) for one in items(tmp_path / "list.txt")]
    assert found == [Item, Refusal, Refusal]


def test_a_folder_whose_name_is_not_utf_8_can_be_kept_but_not_as_paths(tmp_path: Path) -> None:
    fill(tmp_path / "photos", 2)
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xfe"))
    (tmp_path / "photos").rename(folder)
    assert Index.create(tmp_path / "inside", "pixel").add(folder).added == 2
    done = Index.create(tmp_path / "paths", "pixel", keeping=Keeping(paths=True)).add(folder)
    assert done.added == 0 and all("\\xfe" in one.reason for one in done.corrupt) and len(done.corrupt) == 2


def test_batches_are_bounded_by_number_and_by_bytes(tmp_path: Path) -> None:
    for number, size in enumerate((40, 40, 40, 500, 10, 10, 10, 10)):
        (tmp_path / f"{number}.png").write_bytes(bytes(size))
    files = list(items(tmp_path))
    sizes = [[int(one.name[0]) for one in part] for part in parts(iter(files), 3, 100)]
    assert sizes == [[0, 1], [2], [3], [4, 5, 6], [7]]
    assert [len(part) for part in parts(iter(files), 5)] == [5, 3]
