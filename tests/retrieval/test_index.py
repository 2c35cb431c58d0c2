"""A collection: made, added to, searched."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pellucid.errors import CompatibilityError, ConfigError, ImageFileError, ShapeError
from pellucid.images.read import read
from pellucid.retrieval import Index, Keeping
from pellucid.retrieval.check import check
from tests.retrieval.conftest import draw, fill


def pixels(path: Path) -> Tensor:
    return read(path).pixels


def test_what_is_found_is_what_comparing_all_finds(photos: Path, tmp_path: Path) -> None:
    index = Index.create(tmp_path / "i", "pixel")
    done = index.add(photos, batch=5)
    assert (done.added, done.already, done.corrupt, done.near) == (12, 0, [], []) and len(index) == 12
    files = sorted(photos.iterdir())
    vectors = torch.stack([index.embed(pixels(path)) for path in files])
    query = index.embed(torch.from_numpy(np.array(draw(99))).permute(2, 0, 1) / 255)
    errors = (vectors - query).square().mean(1)
    found = index.search(query, 5)
    assert [n.name for n in found] == [files[k].name for k in errors.argsort()[:5]]
    assert [n.distance for n in found] == pytest.approx(errors.sort()[0][:5].tolist(), rel=1e-4)
    for one in found:
        path = photos / one.name
        assert torch.equal(one.picture(), pixels(path))
        assert one.sha256 == one.id == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (one.height, one.width) == (40, 48)


def test_several_pictures_are_searched_by_their_mean(photos: Path, tmp_path: Path) -> None:
    index = Index.create(tmp_path / "i", "pixel")
    index.add(photos)
    both = torch.stack([pixels(photos / "p001.png"), pixels(photos / "p002.png")])
    mean = torch.stack([index.embed(x) for x in both]).mean(0)
    assert torch.allclose(index.embed(both), mean, atol=1e-6)
    assert [n.name for n in index.search_pictures(both, 4)] == [n.name for n in index.search(mean, 4)]
    assert index.search_pictures(both[:1], 1)[0].name == "p001.png"


def test_nothing_is_there_twice(photos: Path, tmp_path: Path) -> None:
    index = Index.create(tmp_path / "i", "pixel")
    (photos / "copy.png").write_bytes((photos / "p003.png").read_bytes())
    first = index.add(photos, batch=4)
    assert (first.added, first.already) == (12, 1)
    again = Index.open(tmp_path / "i").add([photos, photos / "p001.png"], batch=3)
    assert (again.added, again.already) == (0, 14) and len(index) == 12
    fill(photos, 2, first=50)
    assert Index.create(tmp_path / "i", "pixel").add(photos).added == 2


def test_a_batch_is_a_version(photos: Path, tmp_path: Path) -> None:
    index = Index.create(tmp_path / "i", "pixel")
    counts = []
    index.add(photos, batch=5, told=lambda done: counts.append(done.added))
    assert counts == [5, 10, 12]
    rows = [int(v["metadata"]["total_rows"]) for v in index.table.list_versions()]
    assert sorted(rows) == [0, 5, 10, 12]


def test_damaged_files_are_named_and_left_out(photos: Path, tmp_path: Path) -> None:
    (photos / "torn.png").write_bytes((photos / "p001.png").read_bytes()[:200])
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "script.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (photos / ".hidden.png").write_bytes((photos / "p002.png").read_bytes())
    secret = tmp_path / "secret.png"
    draw(77).save(secret)
    (photos / "link.png").symlink_to(secret)
    index = Index.create(tmp_path / "i", "pixel")
    done = index.add(photos)
    assert done.added == 12 and done.files == 16
    reasons = {one.name: one.reason for one in done.corrupt}
    assert set(reasons) == {"torn.png", "empty.jpg", "script.jpg", "link.png"}
    assert "0 bytes" in reasons["empty.jpg"] and "link out of its folder" in reasons["link.png"]
    assert "no picture" in reasons["torn.png"] and "no picture" in reasons["script.jpg"]


def test_near_duplicates_are_told_and_can_be_left_out(photos: Path, tmp_path: Path) -> None:
    index = Index.create(tmp_path / "i", "pixel")
    index.add(photos)
    more = tmp_path / "more"
    more.mkdir()
    draw(3).save(more / "again.jpg", quality=70)
    draw(3).resize((24, 20)).save(more / "small.png")
    draw(60).save(more / "new.png")
    draw(60).save(more / "new2.jpg", quality=80)
    left = index.add(more, skip_near=True)
    assert dict(left.near) == {"again.jpg": "p003.png", "small.png": "p003.png", "new2.jpg": "new.png"}
    assert (left.added, left.skipped, len(index)) == (1, 3, 13)
    kept = index.add(more)
    assert kept.added == 3 and dict(kept.near)["again.jpg"] in {"p003.png", "small.png"}


def test_the_proof_that_a_picture_is_not_there(photos: Path, tmp_path: Path) -> None:
    index = Index.create(tmp_path / "i", "pixel")
    index.add(photos)
    x = pixels(photos / "p004.png")
    assert [n.name for n in index.near_duplicates((0.98 * x + 0.01)[None])] == ["p004.png"]
    assert index.near_duplicates(pixels(photos / "p005.png")[None].flip(-1)) == []
    others = torch.stack([torch.from_numpy(np.array(draw(k))).permute(2, 0, 1) / 255 for k in (90, 91, 92)])
    assert index.near_duplicates(others) == []
    assert index.near_duplicates(torch.cat([others, x[None]]))[0].name == "p004.png"


def test_paths_alone(photos: Path, tmp_path: Path) -> None:
    index = Index.create(tmp_path / "i", "pixel", keeping=Keeping(paths=True))
    index.add(photos)
    found = index.search_pictures(pixels(photos / "p006.png"), 1)[0]
    assert found.name == "p006.png" and torch.equal(found.picture(), pixels(photos / "p006.png"))
    assert index.table.search().select(["picture"]).to_arrow()["picture"].null_count == 12
    draw(70).save(photos / "p006.png")
    with pytest.raises(ImageFileError, match="has changed since"):
        found.picture()
    (photos / "p007.png").unlink()
    report = check(index)
    assert dict(report.counts) == {"changed": 1, "missing": 1} and not report.fine
    assert sorted(name for name, _ in report.faults) == ["p006.png", "p007.png"]


def test_large_pictures_can_be_kept_reduced(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    draw(1, 90, 120).save(photos / "large.png")
    draw(2, 30, 40).save(photos / "small.png")
    index = Index.create(tmp_path / "i", "pixel", keeping=Keeping(longest=60))
    index.add(photos)
    large, small = sorted(index.search_pictures(pixels(photos / "large.png"), 2), key=lambda n: n.name)
    assert large.picture().shape == (3, 45, 60) and (large.height, large.width) == (90, 120)
    wanted = torch.from_numpy(np.array(draw(1, 90, 120).resize((60, 45)))).permute(2, 0, 1) / 255
    assert (large.picture() - wanted).abs().mean() < 0.01
    assert torch.equal(small.picture(), pixels(photos / "small.png"))
    assert large.distance < 1e-6  # the vector is of the whole picture
    assert check(index).fine


def test_half_precision_halves_the_vectors_and_hardly_moves_them(photos: Path, tmp_path: Path) -> None:
    single, half = (Index.create(tmp_path / str(h), "pixel", keeping=Keeping(half=h)) for h in (False, True))
    for index in (single, half):
        index.add(photos)
    query = pixels(photos / "p000.png")
    a, b = single.search_pictures(query, 12), half.search_pictures(query, 12)
    assert [n.name for n in a] == [n.name for n in b]
    assert [n.distance for n in a] == pytest.approx([n.distance for n in b], abs=2e-4)
    assert str(half.table.schema.field("vector").type).startswith("fixed_size_list<item: halffloat")


def test_licences_and_sources_come_from_the_table_beside(photos: Path, tmp_path: Path) -> None:
    lines = ["file\tsource\toriginal_path\tauthor\tlicence", "p001.png\tgithub:x/y\ta/b.png\tAnn\tCC0-1.0"]
    (tmp_path / "SOURCES.tsv").write_text("\n".join([*lines, "p002.png\tnasa\t\t\tpublic-domain"]) + "\n")
    index = Index.create(tmp_path / "i", "pixel")
    index.add(photos, licence="CC-BY-4.0", origin="mine")
    rows = {n.name: (n.licence, n.source) for n in index.search_pictures(torch.rand(3, 8, 8), 12)}
    assert rows["p001.png"] == ("CC0-1.0", "github:x/y a/b.png (Ann)")
    assert rows["p002.png"] == ("public-domain", "nasa") and rows["p003.png"] == ("CC-BY-4.0", "mine")
    (tmp_path / "SOURCES.tsv").write_text("name\tlicence\n")
    with pytest.raises(ConfigError, match="no column named file"):
        index.add(photos)


def test_lists_and_turned_pictures_and_grey_ones(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    image = draw(5)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    image.save(files / "turned.jpg", exif=exif)
    image.convert("L").save(files / "grey.png")
    image.convert("RGBA").save(files / "clear.webp", lossless=True)
    (tmp_path / "list.txt").write_text(
        "# a remark\nfiles/turned.jpg\nfiles/grey.png\n\nfiles/gone.png\nfiles/clear.webp\n"
    )
    index = Index.create(tmp_path / "i", "pixel")
    done = index.add(tmp_path / "list.txt")
    assert done.added == 3 and [(r.name, r.reason) for r in done.corrupt] == [("files/gone.png", "no such file")]
    found = {n.name: n for n in index.search_pictures(pixels(files / "grey.png"), 3)}
    assert found["files/grey.png"].distance < 1e-9 and found["files/grey.png"].picture().shape == (3, 40, 48)
    assert found["files/turned.jpg"].picture().shape == (3, 48, 40)
    assert torch.equal(found["files/clear.webp"].picture(), pixels(files / "clear.webp"))


def test_what_does_not_fit_is_refused_before_any_work(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no index at .*pellucid index build"):
        Index.open(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="is a file"):
        Index.open(tmp_path / "file")
    index = Index.create(tmp_path / "i", "pixel")
    with pytest.raises(ConfigError, match="do not exist"):
        index.add(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="no folder, list"):
        index.add(tmp_path / "file")
    with pytest.raises(ShapeError, match="3072 finite numbers"):
        index.search(torch.zeros(5))
    with pytest.raises(ShapeError, match="finite"):
        index.search(torch.full((3072,), float("nan")))
    with pytest.raises(ShapeError, match="pictures of"):
        index.search_pictures(torch.zeros(2, 4, 8, 8))
    with pytest.raises(CompatibilityError, match="no text tower"):
        index.search_text("a bird")
    with pytest.raises(ConfigError, match="was made with"):
        Index.create(tmp_path / "i", "pixel", keeping=Keeping(paths=True))
    with pytest.raises(ConfigError, match="below 256"):
        index.build()
    assert index.search(torch.zeros(3072), 3) == []


class Mean:
    """Another embedder: the mean colour."""

    name, text, dimension, side, unit = "mean:1", "", 3, 8, False

    def pictures(self, x: Tensor) -> Tensor:
        return x.float().mean((2, 3)).expand(-1, 3)

    def texts(self, words: object) -> Tensor:
        raise CompatibilityError("no words")


def test_an_index_belongs_to_its_embedder(photos: Path, tmp_path: Path) -> None:
    index = Index.create(tmp_path / "i", Mean())
    index.add(photos)
    with pytest.raises(CompatibilityError, match="holds vectors of mean:1, not of pixel:32"):
        Index.create(tmp_path / "i", "pixel")
    with pytest.raises(CompatibilityError, match="give that embedder"):
        Index.open(tmp_path / "i").embedder  # noqa: B018
    found = Index.open(tmp_path / "i", Mean()).search_pictures(pixels(photos / "p002.png"), 1)
    assert found[0].name == "p002.png"


def test_a_database_of_somebody_else_is_no_index(tmp_path: Path) -> None:
    import lancedb

    lancedb.connect(tmp_path / "db").create_table("pictures", data=[{"a": 1}])
    with pytest.raises(ConfigError, match="no index of pictures"):
        Index.open(tmp_path / "db")


class Hue(Mean):
    """The mean colour, of length 1."""

    name, unit = "hue:1", True

    def pictures(self, x: Tensor) -> Tensor:
        return torch.nn.functional.normalize(super().pictures(x))


def test_tampering_is_seen(photos: Path, tmp_path: Path) -> None:
    index = Index.create(tmp_path / "i", Hue())
    index.add(photos, near=False)
    assert check(index).fine
    index.table.update(where="name = 'p002.png'", values={"picture": (photos / "p003.png").read_bytes()})
    index.table.update(where="name = 'p004.png'", values={"vector": [2.0, 0.0, 0.0]})
    index.table.add(index.table.search().where("name = 'p005.png'").to_arrow())
    report = check(index)
    assert dict(report.counts) == {"picture": 1, "vector": 1, "duplicate": 1} and report.rows == 13
    assert ("p004.png", "its embedding has the length 2.0000, not 1") in report.faults
    with pytest.raises(ImageFileError, match="damaged in the table"):
        next(n for n in index.search_pictures(pixels(photos / "p002.png"), 12) if n.name == "p002.png").picture()


def test_a_list_cannot_be_a_pipe_of_secrets(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("../../etc/passwd\n/etc/hostname\n")
    done = Index.create(tmp_path / "i", "pixel").add(tmp_path / "list.txt")
    assert done.added == 0 and len(done.corrupt) == 2
    assert os.path.exists("/etc/passwd")
