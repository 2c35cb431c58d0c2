"""`pellucid restore` and `degrade`: what is written, what it says, and that it can be repeated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from pellucid.cli.console import NOTICE
from pellucid.images import read
from tests.cli.conftest import Command, pixels

BLUR = ("--operator", "gaussian-blur:std=1", "--noise", "0.02", "--method", "ddrm", "--nfe", "4")


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_one_picture(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    ran = pellucid_("restore", photo, "-o", tmp_path / "out.png", *BLUR)
    assert ran.code == 0, ran.err
    assert "ddrm, 4 network calls" in ran.out and NOTICE in ran.out
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (32, 24) and image.mode == "RGB"
        settings = json.loads(image.text["pellucid:settings"])
        assert image.text["Software"].startswith("pellucid ") and image.text["pellucid:notice"] == NOTICE
        assert image.text["pellucid:seed"] == "0" and image.text["pellucid:method"] == "ddrm"
    assert settings["operator"] == "gaussian-blur:std=1" and settings["noise"] == 0.02
    assert settings["options"]["nfe"] == 4 and settings["method"] == "ddrm"


def test_json_says_everything(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    ran = pellucid_("restore", photo, "-o", tmp_path / "out.png", *BLUR, "--compare", photo, "--json")
    report = json.loads(ran.out)
    assert ran.code == 0 and ran.err == ""
    assert report["nfe"] == 4 and report["vjp"] == 0 and report["complete"] and report["seconds"] > 0
    assert report["psnr"]["result"] > 10 and report["psnr"]["measurement"] == pytest.approx(120)
    assert report["output"] == str(tmp_path / "out.png") and report["notice"] == NOTICE
    dps = pellucid_("restore", photo, "-o", tmp_path / "out.png", "-A", "hdr", "-m", "dps", "--nfe", "3", "--json")
    assert json.loads(dps.out)["vjp"] == 3


def test_alone_equals_in_a_folder_and_zero_is_a_seed(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir(), out.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(photo.read_bytes())
    (folder / "notes.txt").write_text("no picture")
    assert pellucid_("restore", folder, "-o", out, *BLUR).code == 0
    assert files(out) == ["a.png", "b.png"]
    assert pellucid_("restore", photo, "-o", tmp_path / "alone.png", *BLUR, "--seed", "0").code == 0
    assert pellucid_("restore", photo, "-o", tmp_path / "other.png", *BLUR, "--seed", "1").code == 0
    alone = pixels(tmp_path / "alone.png")
    assert torch.equal(pixels(out / "a.png"), alone) and torch.equal(pixels(out / "b.png"), alone)
    assert not torch.equal(pixels(tmp_path / "other.png"), alone)


def test_samples_their_mean_and_spread(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    ran = pellucid_("restore", photo, "-o", tmp_path / "s.png", *BLUR, "--samples", "3", "--seed", "5", "--json")
    report = json.loads(ran.out)
    assert files(tmp_path) == [
        "photo.png",
        "s.png",
        "s.sample-00.png",
        "s.sample-01.png",
        "s.sample-02.png",
        "s.std.png",
    ]
    samples = torch.stack([pixels(Path(name)) for name in report["samples"]])
    assert (samples.mean(0) - pixels(tmp_path / "s.png")).abs().max() <= 1.01
    spread = pixels(tmp_path / "s.std.png") * report["std_white"]
    assert (spread - samples.std(0)).abs().max() < 1.5
    pellucid_("restore", photo, "-o", tmp_path / "alone.png", *BLUR, "--seed", "6")
    assert torch.equal(pixels(tmp_path / "alone.png"), samples[1])


def test_dry_run_writes_nothing(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    ran = pellucid_("restore", photo, "-o", tmp_path / "out.png", *BLUR, "--dry-run")
    assert ran.code == 0 and "predicted time" in ran.out and "nothing was written" in ran.out
    assert "gaussian-blur:std=1" in ran.out and files(tmp_path) == ["photo.png"]
    report = json.loads(pellucid_("restore", photo, *BLUR, "--dry-run", "--json").out)
    assert report["predicted_seconds"] >= 0 and report["output"].endswith("photo-restored.png")


def test_time_limit_keeps_what_is_there(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    limited = ("--operator", "mask:random=0.5", "--method", "ddnm", "--nfe", "500", "--seconds", "0.05")
    report = json.loads(pellucid_("restore", photo, "-o", tmp_path / "out.png", *limited, "--json").out)
    assert not report["complete"] and 0 < report["nfe"] < 500
    assert (tmp_path / "out.png").exists()
    several = pellucid_("restore", photo, "-o", tmp_path / "out.png", *limited, "--samples", "2")
    assert "stopped by the time limit" in several.out


def test_grey_stays_grey_and_alpha_comes_back(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    with Image.open(photo) as image:
        grey = image.convert("LA")
    grey.putalpha(Image.fromarray(np.tile(np.arange(32, dtype=np.uint8) * 8, (24, 1))))
    grey.save(tmp_path / "grey.png")
    assert pellucid_("restore", tmp_path / "grey.png", "-o", tmp_path / "out.png", *BLUR).code == 0
    with Image.open(tmp_path / "out.png") as image:
        assert image.mode == "LA"
        assert np.array_equal(np.asarray(image)[..., 1], np.asarray(grey)[..., 1])
    low = ("--operator", "bicubic:factor=2", "--method", "ddrm", "--nfe", "3")
    assert pellucid_("restore", tmp_path / "grey.png", "-o", tmp_path / "large.png", *low).code == 0
    with Image.open(tmp_path / "large.png") as image:
        assert image.mode == "LA" and image.size == (64, 48)


def test_colour_from_grey(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    assert pellucid_("degrade", photo, "-o", tmp_path / "grey.png", "--operator", "grey").code == 0
    assert read(tmp_path / "grey.png").pixels.shape[0] == 1
    assert pellucid_("restore", tmp_path / "grey.png", "-o", tmp_path / "out.png", "--operator", "grey").code == 0
    assert read(tmp_path / "out.png").pixels.shape == (3, 24, 32)


def test_max_side(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    options = (*BLUR, "--max-side", "16", "--compare", photo, "--json")
    report = json.loads(pellucid_("restore", photo, "-o", tmp_path / "out.png", *options).out)
    assert report["settings"]["image_shape"] == [3, 12, 16]


def test_large_pictures_are_tiled(pellucid_: Command, tmp_path: Path) -> None:
    Image.new("L", (1500, 700), 90).save(tmp_path / "large.png")
    options = ("--noise", "0.1", "--method", "ddrm", "--nfe", "2")
    report = json.loads(pellucid_("restore", tmp_path / "large.png", *options, "--json").out)
    assert report["settings"]["tiles"] == 8 and report["nfe"] == 2


def test_a_photograph_with_settings_of_the_method(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    options = ("--noise", "0.1", "--method", "ssd+", "--nfe", "8", "--set", "eta=1", "--set", "n_inv=none", "--json")
    report = json.loads(pellucid_("restore", photo, "-o", tmp_path / "out.png", *options).out)
    assert report["settings"]["options"]["eta"] == 1 and report["settings"]["options"]["n_inv"] is None


def test_degrade_repeats_and_says_what_is_lost(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    wanted = ("--operator", "gaussian-blur:std=1", "--noise", "0.3", "--seed", "4")
    ran = pellucid_("degrade", photo, "-o", tmp_path / "y.png", *wanted)
    assert ran.code == 0 and "8 bits: rounded" in ran.out and "clipped" in ran.out
    for name in ("y.tif", "z.tif"):
        assert "floating point" in pellucid_("degrade", photo, "-o", tmp_path / name, *wanted).out
    y = tifffile.imread(tmp_path / "y.tif")
    assert y.dtype == np.float32 and y.min() < 0 and np.array_equal(y, tifffile.imread(tmp_path / "z.tif"))
    assert torch.equal(pixels(tmp_path / "y.png"), torch.from_numpy(np.rint(y.clip(0, 1) * np.float32(255))))
    ran = pellucid_("degrade", photo, "-o", tmp_path / "y16.png", *wanted, "--depth", "16", "--json")
    assert json.loads(ran.out)["depth"] == "16" and read(tmp_path / "y16.png").depth == "16"


def test_measurements_that_are_no_pictures(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    assert pellucid_("degrade", photo, "-o", tmp_path / "sq.png", "--max-side", "16").code == 0
    with Image.open(photo) as image:
        image.resize((16, 16)).save(tmp_path / "square.png")
    hadamard = ("--operator", "walsh-hadamard:fraction=0.5")
    refused = pellucid_("degrade", tmp_path / "square.png", "-o", tmp_path / "y.png", *hadamard)
    assert refused.code == 10 and ".npy" in refused.err
    assert pellucid_("degrade", tmp_path / "square.png", "-o", tmp_path / "y.npy", *hadamard).code == 0
    options = (*hadamard, "--shape", "3x16x16", "--nfe", "4")
    assert pellucid_("restore", tmp_path / "y.npy", "-o", tmp_path / "x.png", *options).code == 0
    assert read(tmp_path / "x.png").pixels.shape == (3, 16, 16)


@pytest.mark.parametrize(
    ("operator", "method"),
    [("grey", "ddrm"), ("motion-blur:size=5", "pigdm"), ("hdr", "dps")],
    ids=["svd", "linear", "any"],
)
def test_a_method_is_found(pellucid_: Command, photo: Path, tmp_path: Path, operator: str, method: str) -> None:
    with Image.open(photo) as image:
        (image.convert("L") if operator == "grey" else image).save(tmp_path / "y.png")
    ran = pellucid_("restore", tmp_path / "y.png", "-A", operator, "--noise", "0.1", "--dry-run", "--json")
    assert json.loads(ran.out)["settings"]["method"] == method


def test_a_sinogram_is_restored_by_plug_and_play(pellucid_: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", np.full((3, 8, 25), 0.2, dtype=np.float32))
    scan = ("-A", "tomography:angles=8,detectors=25", "--shape", "3x16x16", "--noise", "0.01")
    ran = pellucid_("restore", tmp_path / "y.npy", *scan, "--dry-run", "--json")
    assert ran.code == 0, ran
    assert json.loads(ran.out)["settings"]["method"] == "pnp-admm"
