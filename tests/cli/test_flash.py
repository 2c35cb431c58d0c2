"""`pellucid restore -m flash`: where each picture begins, a budget for all of them, operators that are not known."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid import zoo
from pellucid.cli.console import duration
from tests.cli.conftest import Command, Ran, pixels
from tests.test_blind import FAMILY, shipped_encoder, shipped_head

pytest.importorskip("diffusers")

UNET = {"class": "unet", "channels": 3, "widths": [8, 8], "blocks": [1, 1], "heads": 1, "embedding": 8}
ALONE = ("-m", "flash", "--set", "inner=none", "--nfe", "50")
DPS = ("-m", "flash", "--set", "inner=dps", "--nfe", "50")


@pytest.fixture(autouse=True)
def small_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pixel severity encoder for a blur, an encoder of latents, and a head that tells a blur's width."""
    shipped_encoder(tmp_path / "zoo" / "pixel", UNET)
    shipped_encoder(tmp_path / "zoo" / "enc", operators=("uniform-blur:size=3..9",))
    shipped_head(tmp_path / "zoo" / "head")
    (tmp_path / "zoo" / "photo").mkdir()  # the toy prior in its place needs no more than a card
    (tmp_path / "zoo" / "photo" / "card.json").write_text("{}")
    monkeypatch.setattr(zoo, "folders", lambda: [tmp_path / "zoo"])
    return tmp_path / "zoo"


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Three pictures of grain that differ in contrast."""
    folder = tmp_path / "album"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(3):
        grain = 128 + 40 * k * rng.standard_normal((16, 16 + 8 * (k == 2), 3))
        Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(folder / f"{k}.png")
    return folder


def reports(ran: Ran) -> list[dict[str, Any]]:
    assert ran.code == 0, ran.err
    return [json.loads(line) for line in ran.out.splitlines()]


BLUR = ("-A", "gaussian-blur:std=1", "-n", "0.05")


def test_a_line_says_where_the_picture_begins(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    (said,) = reports(pellucid_("restore", photo, "-o", tmp_path / "a.png", *BLUR, *DPS, "--json"))
    found = said["severity"]
    assert found["of_time"] == 1000 and found["of_steps"] == 50 and found["share"] == 1 and found["s2"] > 0
    assert found["steps"] == said["nfe"] == said["vjp"] > 0 and 0 < found["begins_at"] < 1000
    text = f"severity {found['s2']:.3g}, begins at {found['begins_at']:.4g} of 1000, {found['steps']} of 50 steps"
    ran = pellucid_("restore", photo, "-o", tmp_path / "b.png", *BLUR, *DPS)
    assert text in ran.out.splitlines()
    assert torch.equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))
    dry = pellucid_("restore", photo, "-o", tmp_path / "c.png", *BLUR, *DPS, "--dry-run")
    assert text in dry.out and not (tmp_path / "c.png").exists()
    other = pellucid_("restore", photo, "-o", tmp_path / "d.png", *BLUR, "-m", "dps", "--nfe", "2", "--json")
    assert "severity" not in reports(other)[0]


def test_max_nfe_is_a_mean_over_all_pictures(pellucid_: Command, album: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    free = reports(pellucid_("restore", album, "-o", out, *BLUR, *DPS, "--json"))
    calls = [report["nfe"] for report in free]
    assert len(set(calls)) > 1  # pictures differ, or there would be nothing to share out
    limit = sum(calls) / 6
    scaled = reports(pellucid_("restore", album, "-o", out, *BLUR, *DPS, "--max-nfe", str(limit), "--json"))
    mean = np.mean([report["nfe"] for report in scaled])
    assert limit - 1 < mean <= limit
    share = scaled[0]["severity"]["share"]
    assert 0 < share < 1 and all(report["severity"]["share"] == share for report in scaled)
    assert scaled[0]["settings"]["options"]["share"] == share and scaled[0]["settings"]["max_nfe"] == limit
    assert [report["severity"]["steps"] for report in scaled] == [report["nfe"] for report in scaled]
    # Alone with that share, a picture is what it was beside the others.
    alone = ("restore", album / "1.png", "-o", tmp_path / "alone.png", *BLUR, *DPS, "--set", f"share={share!r}")
    assert pellucid_(*alone).code == 0
    assert torch.equal(pixels(tmp_path / "alone.png"), pixels(out / "1.png"))
    ran = pellucid_("restore", album, "-o", out, *BLUR, *DPS, "--max-nfe", "1000")
    assert "3 pictures" in ran.err and "share=1" in ran.err
    nothing = reports(pellucid_("restore", album, "-o", out, *BLUR, *DPS, "--max-nfe", "0", "--json"))
    assert [report["nfe"] for report in nothing] == [0, 0, 0]


def test_seconds_scale_starts_and_cut_nothing_off(pellucid_: Command, album: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    short = reports(pellucid_("restore", album, "-o", out, *BLUR, *DPS, "--seconds", "0.000001", "--json"))
    assert all(report["complete"] and report["nfe"] == 0 for report in short)
    long = reports(pellucid_("restore", album, "-o", out, *BLUR, *DPS, "--seconds", "1000", "--json"))
    assert all(report["complete"] and report["severity"]["share"] == 1 for report in long)
    assert duration(1000) not in pellucid_("restore", album, "-o", out, *BLUR, *DPS, "--seconds", "1000").err
    other = ("restore", album, "-o", out, *BLUR, "-m", "dps", "--nfe", "50", "--seconds", "0.000001", "--json")
    assert not any(report["complete"] for report in reports(pellucid_(*other)))  # elsewhere it is a limit


def test_one_bad_picture_keeps_no_budget_from_the_others(pellucid_: Command, album: Path, tmp_path: Path) -> None:
    (album / "broken.png").write_text("no picture")
    out = tmp_path / "out"
    out.mkdir()
    ran = pellucid_("restore", album, "-o", out, *BLUR, *DPS, "--max-nfe", "4")
    assert ran.code == 10 and "1 of 4 pictures were not restored" in ran.err and "3 pictures" in ran.err
    assert ran.err.count("broken.png") == 1
    assert sorted(p.name for p in out.iterdir()) == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("-m", "dps", "--max-nfe", "4"), 5, "take flash"),
        (("--max-nfe", "4"), 7, "take -m flash"),
        ((*DPS, "--max-nfe", "-1"), 7, "not negative"),
        ((*DPS, "--max-nfe", "nan"), 7, "must be finite"),
    ],
)
def test_budgets_that_cannot_be(
    options: tuple[str, ...], code: int, said: str, pellucid_: Command, photo: Path, tmp_path: Path
) -> None:
    ran = pellucid_("restore", photo, "-o", tmp_path / "a.png", *BLUR, *options)
    assert ran.code == code and said in ran.err and not (tmp_path / "a.png").exists()


# Operators that are not known


def test_a_width_is_told_from_the_measurement(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    blind = ("-A", "gaussian-blur:std=?", "-n", "0.05", "-m", "ddrm", "--nfe", "4")
    ran = pellucid_("restore", photo, "-o", tmp_path / "a.png", *blind)
    (line,) = (line for line in ran.out.splitlines() if line.startswith("estimated: "))
    told = line.removeprefix("estimated: ")
    (said,) = reports(pellucid_("restore", photo, "-o", tmp_path / "b.png", *blind, "--json"))
    assert said["settings"]["operator"] == "gaussian-blur:std=?" and said["settings"]["operator_estimated"] == told
    given = ("restore", photo, "-o", tmp_path / "c.png", "-A", told, "-n", "0.05", "-m", "ddrm", "--nfe", "4")
    assert pellucid_(*given).code == 0
    assert torch.equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "c.png"))
    # Without a method: that which suits the operator told.
    assert reports(pellucid_("restore", photo, "-o", tmp_path / "d.png", *blind[:4], "--nfe", "3", "--json"))
    (said,) = reports(pellucid_("restore", photo, "-o", tmp_path / "e.png", *blind[:4], *DPS, "--json"))
    assert said["settings"]["operator_estimated"] == told and said["severity"]["steps"] == said["nfe"]


def test_left_to_the_encoder_no_operator_is_built(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    sought = ("-A", "gaussian-blur:std=?", "-n", "0.05", *ALONE)
    (said,) = reports(pellucid_("restore", photo, "-o", tmp_path / "a.png", *sought, "--json"))
    assert "operator_estimated" not in said["settings"] and said["operator_calls"] == 0
    assert said["settings"]["options"]["encoder"] == "pixel"
    unknown = ("-A", "unknown", *ALONE, "--set", "encoder=pixel")
    (other,) = reports(pellucid_("restore", photo, "-o", tmp_path / "b.png", *unknown, "--json"))
    assert other["settings"]["operator"] == "unknown" and other["severity"] == said["severity"]
    assert torch.equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))
    known = ("-A", "gaussian-blur:std=2.5", "-n", "0.05", *ALONE)  # the encoder knows no width, whatever is said
    assert pellucid_("restore", photo, "-o", tmp_path / "c.png", *known).code == 0
    assert torch.equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "c.png"))
    budget = ("restore", photo, "-o", tmp_path / "d.png", *unknown, "--max-nfe", "2", "--json")
    assert reports(pellucid_(*budget))[0]["nfe"] <= 2


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("-A", "unknown"), 7, "-m flash --set inner=none"),
        (("-A", "unknown", "-m", "dps"), 5, "dps asks what the operator does"),
        (("-A", "unknown", *DPS), 5, "asks what the operator does"),
        (("-A", "unknown", *ALONE), 5, "Name one outright"),
        (("-A", "anisotropic-blur:std_y=?", "-m", "dps"), 5, f"no network estimates .* head: {FAMILY}"),
        (("-A", "uniform-blur:size=?", "-m", "dps"), 5, "no network estimates"),
        (("-A", "mask:random=0.5,seed=?"), 3, "seed=. cannot be estimated"),
        (("-A", "gausian-blur:std=?"), 8, "did you mean 'gaussian-blur'"),
    ],
)
def test_what_cannot_be_known_says_so_before_any_work(
    options: tuple[str, ...], code: int, said: str, pellucid_: Command, photo: Path, tmp_path: Path
) -> None:
    ran = pellucid_("restore", photo, "-o", tmp_path / "a.png", "-n", "0.05", *options)
    assert ran.code == code, ran.err
    assert re.search(said, ran.err), ran.err
    assert not (tmp_path / "a.png").exists()
