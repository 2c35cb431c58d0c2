"""`pellucid compare`: pairs, tables, refusals."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pellucid.metrics import METRICS, MetricError
from pellucid.metrics.comparison import compare, pair_up
from tests.cli.conftest import Command, pellucid_

__all__ = ["pellucid_"]


def save(path: Path, value: int, shape: tuple[int, ...] = (16, 20, 3)) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.full(shape, value, dtype=np.uint8)).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Errors of 10, 20 and 40 of 255; one picture on each side has no partner."""
    for name, error in (("a", 10), ("b", 20), ("c", 40), ("mine", 0)):
        save(tmp_path / "results" / f"{name}.png", 100 + error)
    for name in ("a", "b", "c", "yours"):
        save(tmp_path / "truth" / f"{name}.png", 100)
    (tmp_path / "truth" / "notes.txt").write_text("no picture")
    return tmp_path / "results", tmp_path / "truth"


EXPECTED = [20 * np.log10(255 / error) for error in (10, 20, 40)]


def test_json_has_every_file_the_summary_and_the_statement(pellucid_: Command, folders: tuple[Path, Path]) -> None:
    ran = pellucid_("compare", *folders, "--metric", "psnr", "--border", "2", "--json")
    assert ran.code == 0 and ran.err == ""
    said = json.loads(ran.out)
    assert [file["psnr"] for file in said["files"]] == pytest.approx(EXPECTED, abs=1e-4)
    (row,) = said["metrics"]
    assert row["n"] == 3 and row["mean"] == pytest.approx(np.mean(EXPECTED), abs=1e-4)
    assert row["std"] == pytest.approx(np.std(EXPECTED, ddof=1), abs=1e-4)
    assert row["low"] < row["mean"] < row["high"]
    assert said["protocol"] == {
        "text": "range [0, 1], clipped, border of 2 px cut off, RGB (grey: one channel)",
        "clip": True,
        "border": 2,
        "colour": "rgb",
    }
    assert sorted(Path(path).stem for path in said["left_out"]) == ["mine", "yours"]


def test_the_table_says_range_clipping_crop_and_colour(pellucid_: Command, folders: tuple[Path, Path]) -> None:
    ran = pellucid_("compare", *folders, "--colour", "y", "--no-clip")
    assert ran.code == 0
    first, second = ran.out.splitlines()[:2]
    assert first.split("\t")[0] == "psnr" and "dB" in first and "±" in first and "3 files" in first
    assert second.split("\t")[0] == "ssim"
    assert "psnr in dB (higher is better): range [0, 1], not clipped, no border cut off, Y of BT.601" in ran.out
    assert "Gaussian window 11 x 11" in ran.out
    assert "2 pictures are on one side only" in ran.err


def test_csv_states_each_number(pellucid_: Command, folders: tuple[Path, Path], tmp_path: Path) -> None:
    ran = pellucid_("compare", *folders, "--metric", "psnr", "--csv", tmp_path / "out.csv")
    assert ran.code == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["value"]) for row in rows] == pytest.approx(EXPECTED, abs=1e-4)
    assert all("clipped" in row["statement"] and row["metric"] == "psnr" for row in rows)
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


def test_two_files_have_no_interval(pellucid_: Command, folders: tuple[Path, Path]) -> None:
    pair = (folders[0] / "a.png", folders[1] / "b.png")
    ran = pellucid_("compare", *pair, "--metric", "psnr")
    assert ran.code == 0 and f"{EXPECTED[0]:.5g} dB" in ran.out and "1 file\t" in ran.out and "±" not in ran.out
    (row,) = json.loads(pellucid_("compare", *pair, "--metric", "psnr", "--json").out)["metrics"]
    assert row["std"] is None and row["low"] is None


def test_a_metric_of_sets_beside_one_of_images(folders: tuple[Path, Path]) -> None:
    from pellucid.metrics.frechet import Frechet
    from pellucid.metrics.metric import Metric

    class Means(Frechet):
        dimension = 1

        def features(self, pictures):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            return pictures.mean((2, 3))[:, :1]

    mine = Metric("means", "", "lower", "", "means", per_image=False, gather=Means)
    done: list[int] = []
    found = compare(pair_up(*folders), [METRICS["psnr"], mine], watch=done.append)
    errors = np.array([10, 20, 40]) / 255
    assert found.sets["means"][0] == pytest.approx(errors.mean() ** 2 + errors.var(ddof=1), rel=1e-4)
    assert found.rows()[1]["mean"] == found.sets["means"][0] and "3 and 3 samples" in found.texts()[1]
    assert done == [1, 2, 3]


def test_refusals(pellucid_: Command, folders: tuple[Path, Path], tmp_path: Path) -> None:
    results, truth = folders
    save(tmp_path / "grey.png", 3, (16, 20))
    save(tmp_path / "small" / "a.png", 3, (8, 8, 3))
    (tmp_path / "empty").mkdir()
    cases = [
        ((results, truth, "--metric", "pnsr"), 8, "did you mean 'psnr'"),
        ((results, truth, "--metric", "residual"), 12, "needs the measurement"),
        ((results, truth, "--colour", "lab"), 7, "one of rgb, y"),
        ((results, truth, "--border", "-1"), 7, "0 or more"),
        ((results, truth, "--border", "8", "--metric", "psnr"), 12, "a.png: a border of 8 px leaves nothing"),
        ((results, truth, "--csv", tmp_path / "no" / "out.csv"), 10, "does not exist"),
        ((results, truth / "a.png"), 10, "one is a folder"),
        ((results, tmp_path / "absent"), 10, "does not exist"),
        ((results, tmp_path / "empty"), 10, "no picture of the same name"),
        ((results / "a.png", tmp_path / "grey.png"), 10, "3 x 16 x 20 and 1 x 16 x 20"),
        ((results, tmp_path / "small"), 10, "differ in shape"),
    ]
    for arguments, code, message in cases:
        ran = pellucid_("compare", *arguments)
        assert (ran.code, message in ran.err, ran.out) == (code, True, ""), (arguments, ran)
    save(results / "a.jpg", 5)
    with pytest.raises(Exception, match="have one name"):
        pair_up(results, truth)
    with pytest.raises(MetricError, match="needs the measurement"):
        compare(pair_up(truth, truth), [METRICS["residual_rms"]])
