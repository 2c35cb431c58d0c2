"""`pellucid upscale`: what is written, what it says, adaptation from an index, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid.cli.console import NOTICE
from pellucid.images import read
from pellucid.operators.resize import Bicubic
from tests.cli.conftest import Command, pixels
from tests.stable import folders

pytest.importorskip("diffusers")
pytest.importorskip("transformers")
QUICK = ("--nfe", "2", "--device", "cpu", "--precision", "float32")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.upscaler(tmp_path_factory.mktemp("model") / "tiny-upscaler")


def test_one_picture(pellucid_: Command, photo: Path, model: Path, tmp_path: Path) -> None:
    ran = pellucid_("upscale", photo, "--model", model, "-o", tmp_path / "out.png", "--prompt", "a cat", *QUICK)
    assert ran.code == 0, ran.err
    assert "128 x 96, 4 network calls" in ran.out and NOTICE in ran.out
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (128, 96) and image.mode == "RGB"
        settings = json.loads(image.text["pellucid:settings"])
        assert image.text["pellucid:notice"] == NOTICE and image.text["pellucid:seed"] == "0"
        assert "model tiny-upscaler" in image.text["Description"]
    assert settings["model"] == "tiny-upscaler" and settings["prompt"] == "a cat"
    assert settings["noise_level"] == 20 and settings["guidance"] == 9.0 and settings["nfe"] == 2


def test_json_seeds_and_folders(pellucid_: Command, photo: Path, model: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir(), out.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(photo.read_bytes())
    common = ("--model", model, *QUICK, "--guidance", "1", "--json")
    ran = pellucid_("upscale", folder, "-o", out, *common)
    reports = [json.loads(line) for line in ran.out.splitlines()]
    assert ran.code == 0 and [report["nfe"] for report in reports] == [2, 2]
    assert all(report["seconds"] > 0 and report["predicted_seconds"] > 0 for report in reports)
    other = json.loads(pellucid_("upscale", photo, "-o", tmp_path / "c.png", *common, "--seed", "1").out)
    assert other["settings"]["seed"] == 1 and other["notice"] == NOTICE
    assert torch.equal(pixels(out / "a.png"), pixels(out / "b.png"))
    assert not torch.equal(pixels(out / "a.png"), pixels(tmp_path / "c.png"))


def test_dry_run_writes_nothing(pellucid_: Command, photo: Path, model: Path, tmp_path: Path) -> None:
    ran = pellucid_("upscale", photo, "--model", model, "-o", tmp_path / "out.png", *QUICK, "--dry-run")
    assert ran.code == 0 and "predicted time" in ran.out and "nothing was written" in ran.out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photo.png"]


def test_consistent_tiles_grey_alpha_and_16_bits(pellucid_: Command, photo: Path, model: Path, tmp_path: Path) -> None:
    command = ("upscale", photo, "--model", model, *QUICK, "--consistent", "--tile", "64", "--json")
    report = json.loads(pellucid_(*command, "-o", tmp_path / "out.tif", "--depth", "float").out)
    assert report["settings"]["tiles"] > 1
    y, x = read(photo).pixels, read(tmp_path / "out.tif").pixels
    assert x.shape == (3, 96, 128) and float((Bicubic((3, 96, 128), 4)(x[None])[0] - y).abs().max()) < 1e-4
    with Image.open(photo) as image:
        grey = image.convert("LA")
    grey.putalpha(Image.fromarray(np.tile(np.arange(32, dtype=np.uint8) * 8, (24, 1))))
    grey.save(tmp_path / "grey.png")
    ran = pellucid_("upscale", tmp_path / "grey.png", "--model", model, "-o", tmp_path / "large.png", *QUICK)
    assert ran.code == 0, ran.err
    with Image.open(tmp_path / "large.png") as image:
        assert image.mode == "LA" and image.size == (128, 96)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    pytest.importorskip("lancedb")
    from pellucid.retrieval import Index

    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    made = Index.create(tmp_path / "photos.index", "pixel")
    made.add(folder, licence="CC0")
    return tmp_path / "photos.index"


def test_adaptation(pellucid_: Command, photo: Path, model: Path, index: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    adapt = ("--adapt", index, "--neighbours", "3", "--adapt-steps", "3", "--adapt-crop", "32")
    adapter = tmp_path / "a.safetensors"
    command = ("upscale", photo, "--model", model, *QUICK)
    ran = pellucid_(*command, "-o", tmp_path / "a.tif", *adapt, "--save-adapter", adapter, "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    told, settings = report["adaptation"], report["settings"]["adapt"]
    assert told["steps_taken"] == 3 and len(told["neighbours"]) == 3 and told["adapter"] == str(adapter)
    assert [one["distance"] for one in told["neighbours"]] == sorted(one["distance"] for one in told["neighbours"])
    assert len(told["neighbours"][0]["id"]) == 64 and told["loss_first"] > 0 and told["licences"] == {"CC0": 3}
    assert settings["neighbours"] == 3 and settings["crop"] == 32 and settings["lr"] == 1e-4
    assert report["predicted_seconds"] > 0
    again = pellucid_(*command, "-o", tmp_path / "b.tif", "--adapter", adapter)
    plain = pellucid_(*command, "-o", tmp_path / "c.tif")
    assert again.code == plain.code == 0, again.err
    a, b, c = (read(tmp_path / f"{name}.tif").pixels for name in "abc")
    assert torch.equal(a, b) and not torch.equal(a, c)
    shown = pellucid_(*command, "-o", tmp_path / "d.png", *adapt)
    assert "adapted to 3 neighbours: 3 steps" in shown.out and "loss" in shown.out and "licences: 3 CC0" in shown.out
    with Image.open(tmp_path / "d.png") as image:
        public = json.loads(image.text["pellucid:settings"])["adapt"]
        assert public["index"] == "photos.index" and public["licences"] == {"CC0": 3}
        assert "with an adapted network" in image.text["Description"]
    dry = pellucid_(*command, *adapt, "--dry-run")
    assert "3 pictures; the nearest is" in dry.out and "of which the adaptation" in dry.out
    none = pellucid_(*command, "--adapt-steps", "3")
    assert none.code == 7 and "--adapt-steps is for learning from pictures: add --adapt INDEX" in none.err
    both = pellucid_(*command, *adapt, "--adapter", adapter)
    assert both.code == 7 and "give one of them" in both.err


def test_what_is_refused(pellucid_: Command, photo: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "slice.npz", hu=np.zeros((16, 16), np.float32))
    good = ("upscale", photo, "--model", model)
    cases = (
        (("upscale", photo), 9, "hf download stabilityai/stable-diffusion-x4-upscaler"),
        (("upscale", photo, "--model", tmp_path / "none"), 9, "does not exist"),
        (("upscale", photo, "--model", tmp_path / "empty"), 9, "no unet/config.json"),
        (("upscale", tmp_path / "none.png", "--model", model), 10, "does not exist"),
        (("upscale", tmp_path / "slice.npz", "--model", model), 6, "no photograph"),
        ((*good, "--nfe", "0"), 7, "--nfe must be at least 1"),
        ((*good, "--nfe", "900"), 5, "steps must be"),
        ((*good, "--noise-level", "400"), 7, "--noise-level must be from 0 to 350"),
        ((*good, "--guidance", "nan"), 7, "--guidance"),
        ((*good, "--tile", "10"), 7, "--tile must be at least 64"),
        ((*good, "--device", "abacus"), 7, "--device abacus"),
        ((*good, "--precision", "half"), 7, "--precision must be"),
        ((*good, "--save-adapter", tmp_path / "a.safetensors"), 7, "add --adapt INDEX"),
        ((*good, "--adapt", tmp_path / "none"), 7, "none"),
        ((*good, "--adapter", tmp_path / "a.st"), 9, "is not there"),
        ((*good, "--adapter", photo), 9, "no adapter"),
        ((*good, "-o", photo), 10, "would be overwritten"),
        ((*good, "-o", tmp_path / "out.gif"), 10, "suffix"),
    )
    for arguments, code, text in cases:
        ran = pellucid_(*arguments)
        assert (ran.code, text in ran.err) == (code, True), (arguments, ran)
        assert len(ran.err.splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "photo.png", "slice.npz"]
