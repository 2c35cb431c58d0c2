"""`pellucid schedule`, and degradations by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid.errors import ConfigError
from pellucid.operators import BlurFamily, MaskFamily, family
from pellucid.operators.families.named import points_of
from pellucid.operators.families.schedule_file import Schedule
from tests.cli.conftest import Command

PAPERS = Path(__file__).parents[2] / "papers" / "dirac"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three pictures of waves, 24 x 20."""
    folder = tmp_path / "photos"
    folder.mkdir()
    down, across = np.mgrid[:20, :24] / 4
    for k in (1, 2, 3):
        waves = 0.5 + 0.25 * np.sin(k * down) + 0.25 * np.sign(np.sin(across * k + down))
        Image.fromarray((255 * waves.clip(0, 1)).astype(np.uint8)).save(folder / f"{k}.png")
    return folder


def test_a_schedule_from_a_folder_to_a_family(pellucid_: Command, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.json"
    arguments = ["--data", photos, "--metric", "mse", "--points", 9, "--candidates", 65, "--size", 16]
    ran = pellucid_("schedule", "blur", *arguments, "-o", out)
    assert ran.code == 0 and f"{out}: 9 points, largest gap" in ran.out and "3 pictures" in ran.err
    found = Schedule.read(out)
    pitch = 2.7 / 64
    assert len(found.points) == 9 and found.points[0] == 0.3 and found.points[-1] == 3.0
    assert all(abs((p - 0.3) / pitch - round((p - 0.3) / pitch)) < 1e-9 for p in found.points)
    assert found.points[4] < 1.65  # most of the error comes early
    about = found.about
    assert about["data"]["pictures"] == 3 and set(about["data"]["sha256"]) == {"1.png", "2.png", "3.png"}
    assert about["metric"] == "mse" and about["candidates"]["count"] == 65 and about["distances"] > 20
    own = family(f"blur:schedule={out}")((1, 16, 16))
    assert isinstance(own, BlurFamily) and own.stds.tolist() == pytest.approx(found.points)
    again = tmp_path / "all.json"
    assert pellucid_("schedule", "blur", *arguments, "--search", "all", "-o", again).code == 0
    assert Schedule.read(again).points == found.points


@pytest.mark.slow
def test_ssim_counts_as_what_it_lacks(pellucid_: Command, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("torchmetrics")
    out = tmp_path / "s.json"
    few = ["--points", 4, "--candidates", 9, "--size", 16, "--pictures", 1]
    assert pellucid_("schedule", "blur", "--data", photos, "--metric", "ssim", *few, "-o", out).code == 0
    content = json.loads(out.read_text())
    assert content["about"]["metric_statement"].startswith("1 - ssim") and content["about"]["largest_gap"] > 0


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (["--metric", "psnr"], 7, "no distance of two pictures"),
        (["--metric", "fid"], 7, "no distance of two pictures"),
        (["--metric", "mes"], 8, "no metric named 'mes'"),
        (["--data", "nowhere"], 7, "there is no folder nowhere"),
        (["--points", "20", "--candidates", "10"], 7, "20 points cannot be taken from 10"),
        (["--narrowest", "3", "--widest", "1"], 7, "widest must be above narrowest"),
        (["--search", "some"], 7, "search is one of"),
        (["--pictures", "9"], 7, "holds 3 pictures"),
        (["--size", "64"], 7, "smaller than the size"),
        (["-o", "s.txt"], 7, "is a .json file"),
        (["-o", "no/such/s.json"], 10, "does not exist"),
    ],
)
def test_what_cannot_be_scheduled_is_refused_before_any_work(
    change: list[str], code: int, message: str, pellucid_: Command, photos: Path, tmp_path: Path
) -> None:
    usual = {"--data": str(photos), "--metric": "mse", "--size": "16", "-o": str(tmp_path / "s.json")}
    usual |= dict(zip(change[::2], change[1::2], strict=True))
    ran = pellucid_("schedule", "blur", *[word for pair in usual.items() for word in pair])
    assert ran.code == code and message in ran.err and not (tmp_path / "s.json").exists()


def test_only_blurs_and_holes_have_schedules(pellucid_: Command, photos: Path, tmp_path: Path) -> None:
    ran = pellucid_("schedule", "jpeg", "--data", photos, "-o", tmp_path / "s.json")
    assert ran.code == 7 and "can be made for blur, hole" in ran.err


def test_the_schedule_of_a_hole_becomes_a_family(pellucid_: Command, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "hole.json"
    words = ("--data", photos, "--metric", "mse", "--size", "16", "--points", "6", "--candidates", "40", "-o", file)
    ran = pellucid_("schedule", "hole", *words)
    assert ran.code == 0, ran.err
    written = Schedule.read(file, "hole")
    first, pitch = written.about["candidates"]["first"], (16 * 50 / 256 - 0.1) / 39
    assert written.points[0] == first == 0.1 and written.points[-1] == 16 * 50 / 256
    assert all(abs((p - 0.1) / pitch - round((p - 0.1) / pitch)) < 1e-9 for p in written.points)
    made = family(f"hole:schedule={file}")((3, 16, 16))
    assert isinstance(made, MaskFamily) and made.stds.tolist() == pytest.approx(written.points, abs=1e-11)
    t = torch.tensor([0.37], dtype=torch.float64)
    assert made.time_of(made.at(t)) == pytest.approx(0.37)
    assert float(made.stds[0]) == pytest.approx(0.1) and float(made.stds[-1]) == pytest.approx(16 * 50 / 256)
    assert not torch.allclose(made.stds, torch.linspace(0.1, 3.125, 6, dtype=torch.float64), atol=1e-3)


@pytest.mark.parametrize(
    "text", ["pixelation:size=4", "contrast:keep=0.3", "exposure:gain=0.25", "sparse-view:views=8"]
)
def test_the_degradations_go_through_the_command_line(
    text: str, pellucid_: Command, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "y.png"
    ran = pellucid_("degrade", photos / "1.png", "-A", text, "-o", out)
    assert ran.code == 0
    x, y = (np.asarray(Image.open(path), dtype=np.float64) / 255 for path in (photos / "1.png", out))
    assert x.shape == y.shape
    if text.startswith("contrast"):
        assert np.abs(y - (0.3 * x + 0.35)).max() < 0.003
    if text.startswith("exposure"):
        assert np.abs(y - 0.25 * x).max() < 0.003
    if text.startswith("pixelation"):
        assert np.abs(y[:4, 4:8] - x[:4, 4:8].mean()).max() < 0.003
    assert np.abs(y - x).max() > 0.05


def test_a_network_keeps_the_schedule_that_its_file_held(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    Schedule("blur", "std", (0.5, 0.7, 2.0)).write(file)
    text = f"blur:schedule={file}"
    points = points_of(text)
    assert points == (0.5, 0.7, 2.0) and points_of("blur") is None
    file.unlink()
    with pytest.raises(ConfigError):
        family(text)
    made = family(text, points)((3, 16, 16))
    assert isinstance(made, BlurFamily) and made.stds.tolist() == [0.5, 0.7, 2.0]


def test_the_schedule_of_holes_that_is_kept_begins_with_its_narrowest() -> None:
    kept = Schedule.read(PAPERS / "schedule-hole.json", "hole")
    ends = kept.about["candidates"]
    assert (kept.points[0], kept.points[-1]) == (ends["first"], ends["last"]) == (0.1, 25.0)
    pitch = (ends["last"] - ends["first"]) / (ends["count"] - 1)
    assert all(abs((p - 0.1) / pitch - round((p - 0.1) / pitch)) < 1e-9 for p in kept.points)
    made = family(f"hole:schedule={PAPERS / 'schedule-hole.json'}")((3, 128, 128))
    assert isinstance(made, MaskFamily) and made.stds.tolist() == pytest.approx(kept.points, abs=1e-11)
