"""Whatever is wrong: one line on stderr, its own exit code, nothing written, no traceback."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pellucid.errors import ConfigError, ShapeError, UnknownNameError
from pellucid.images.png import SIGNATURE, chunk
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.train.data.source import open_source
from pellucid.zoo import load_autoencoder, load_estimator
from tests.cli.conftest import Command, shrink

USAGE, OPERATOR, SHAPE, COMPATIBILITY, PROBLEM, CONFIG, UNKNOWN, PRIOR, IMAGE = 2, 3, 4, 5, 6, 7, 8, 9, 10

Arrange = Callable[[Path], Path]


def written(name: str, content: bytes) -> Arrange:
    def arrange(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return arrange


def truncated(folder: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:2000])
    return folder / "cut.jpg"


def gigapixel(folder: Path) -> Path:
    header = struct.pack(">IIBBBBB", 40000, 30000, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    (folder / "huge.png").write_bytes(SIGNATURE + content)
    return folder / "huge.png"


def nan(folder: Path) -> Path:
    tifffile.imwrite(folder / "nan.tif", np.full((8, 8), np.nan, np.float32))
    return folder / "nan.tif"


def empty_folder(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


FILES: dict[str, tuple[Arrange, str]] = {
    "missing": (lambda folder: folder / "missing.png", "does not exist"),
    "empty": (written("empty.png", b""), "0 bytes"),
    "text": (written("text.png", b"no picture at all " * 50), "not a picture"),
    "truncated": (truncated, "truncated"),
    "gigapixel": (gigapixel, "pixels"),
    "nan": (nan, "NaN"),
    "empty folder": (empty_folder, "no pictures"),
}


def refused(pellucid_: Command, code: int, words: str, *arguments: str | Path, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    ran = pellucid_(*arguments)
    assert ran.code == code, (ran.code, ran.err, ran.out)
    assert ran.err.count("\n") == 1 and words in ran.err and "Traceback" not in ran.err, ran.err
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("command", ["restore", "degrade"])
@pytest.mark.parametrize("kind", FILES)
def test_files(pellucid_: Command, tmp_path: Path, kind: str, command: str) -> None:
    arrange, words = FILES[kind]
    source, out = arrange(tmp_path), tmp_path / "results"
    out.mkdir()
    refused(pellucid_, IMAGE, words, command, source, "-o", out, "--noise", "0.1", folder=tmp_path)


OPTIONS: dict[str, tuple[int, str, tuple[str, ...]]] = {
    "operator name": (UNKNOWN, "did you mean 'gaussian-blur'", ("-A", "gausian-blur:std=2")),
    "operator text": (OPERATOR, "std", ("-A", "gaussian-blur:std=wide")),
    "operator grammar": (OPERATOR, "", ("-A", "gaussian-blur:std=[")),
    "operator parameter": (OPERATOR, "no parameter 'width'", ("-A", "gaussian-blur:width=2")),
    "operator file": (OPERATOR, "nowhere.png", ("-A", "mask:file=nowhere.png")),
    "operator and picture": (SHAPE, "", ("-A", "walsh-hadamard:fraction=1", "--shape", "3x24x32")),
    "shape and picture": (SHAPE, "shape", ("-A", "gaussian-blur:std=1", "--shape", "3x9x9")),
    "negative noise": (PROBLEM, "not negative", ("--noise=-0.1",)),
    "NaN noise": (PROBLEM, "finite", ("--noise", "nan")),
    "no problem": (CONFIG, "--operator", ()),
    "method name": (UNKNOWN, "did you mean 'ddrm'", ("--noise", "0.1", "-m", "ddmr")),
    "method and operator": (COMPATIBILITY, "dps takes any operator", ("-A", "hdr", "-m", "ddrm")),
    "method option": (CONFIG, "its options are", ("--noise", "0.1", "-m", "ssd", "--set", "speed=1")),
    "method option's form": (CONFIG, "key=value", ("--noise", "0.1", "--set", "speed")),
    "method option's type": (CONFIG, "is a number", ("--noise", "0.1", "-m", "ssd", "--set", "eta=much")),
    "method option none": (CONFIG, "is a number", ("--noise", "0.1", "-m", "ssd", "--set", "eta=none")),
    "method option NaN": (CONFIG, "finite", ("--noise", "0.1", "-m", "ssd", "--set", "t0=nan")),
    "method option in words": (CONFIG, "whole number", ("--noise", "0.1", "-m", "ssd", "--set", "n_inv=few")),
    "method option in parts": (CONFIG, "whole number", ("--noise", "0.1", "-m", "ssd", "--set", "n_inv=1.5")),
    "calls as an option": (CONFIG, "--nfe 5", ("--noise", "0.1", "-m", "ssd", "--set", "nfe=5")),
    "method option out of range": (COMPATIBILITY, "t0", ("--noise", "0.1", "-m", "ssd", "--set", "t0=2")),
    "too few calls": (COMPATIBILITY, "ssd needs 3 calls", ("--noise", "0.1", "-m", "ssd", "--nfe", "2")),
    "long name": (IMAGE, "too long", ("--noise", "0.1", "--nfe", "2", "-o", "x" * 250 + ".png")),
    "method without calls": (CONFIG, "no option 'nfe'", ("--noise", "0.1", "-m", "pinv", "--nfe", "3")),
    "prior name": (UNKNOWN, "no prior named", ("--noise", "0.1", "--prior", "phot")),
    "no calls": (CONFIG, "--nfe", ("--noise", "0.1", "--nfe", "0")),
    "no samples": (CONFIG, "--samples", ("--noise", "0.1", "--samples", "0")),
    "no time": (CONFIG, "--seconds", ("--noise", "0.1", "--seconds", "0")),
    "no pixels": (CONFIG, "--max-side", ("--noise", "0.1", "--max-side", "1")),
    "device": (CONFIG, "--device", ("--noise", "0.1", "--device", "abacus")),
    "shape": (CONFIG, "--shape", ("--noise", "0.1", "--shape", "wide")),
    "not a number": (USAGE, "--noise", ("--noise", "loud")),
    "unknown flag": (USAGE, "--loud", ("--loud",)),
    "truth missing": (IMAGE, "does not exist", ("--noise", "0.1", "--compare", "nowhere.png")),
    "depth": (IMAGE, "8 or 16", ("--noise", "0.1", "--depth", "float")),
}


@pytest.mark.parametrize("kind", OPTIONS)
def test_options(pellucid_: Command, photo: Path, tmp_path: Path, kind: str) -> None:
    code, words, options = OPTIONS[kind]
    refused(pellucid_, code, words, "restore", photo, "-o", tmp_path / "out.png", *options, folder=tmp_path)


def test_prior_folder_without_a_prior(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "prior").mkdir()
    arguments = ("restore", photo, "--noise", "0.1", "--prior", tmp_path / "prior")
    refused(pellucid_, PRIOR, "card.json", *arguments, folder=tmp_path)


def test_truth_of_another_shape(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "truth.png")
    arguments = ("restore", photo, "--noise", "0.1", "--compare", tmp_path / "truth.png")
    refused(pellucid_, IMAGE, "shape", *arguments, folder=tmp_path)


@pytest.mark.parametrize("command", ["restore", "degrade"])
def test_outputs(pellucid_: Command, photo: Path, tmp_path: Path, command: str) -> None:
    def fails(words: str, *arguments: str | Path) -> None:
        refused(pellucid_, IMAGE, words, command, *arguments, "--noise", "0.1", folder=tmp_path)

    fails("does not exist; make it first", photo, "-o", tmp_path / "nowhere" / "out.png")
    fails("would be overwritten", photo, "-o", photo)
    fails("would be overwritten", photo, "-o", tmp_path)
    fails("suffix", photo, "-o", tmp_path / "out.xyz")
    fails("several pictures need -o", photo, photo)
    fails("does not exist", photo, photo, "-o", tmp_path / "nowhere")
    other = tmp_path / "photo.jpg"
    Image.new("RGB", (8, 8)).save(other)
    (tmp_path / "results").mkdir()
    fails("both be written", photo, other, "-o", tmp_path / "results")


def test_results_do_not_overwrite_the_truth_or_the_input(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    truth, sample = tmp_path / "truth.png", tmp_path / "x.sample-00.png"
    for path in (truth, sample):
        path.write_bytes(photo.read_bytes())
    arguments = (photo, "-o", truth, "--compare", truth, "--noise", "0.1")
    refused(pellucid_, IMAGE, "would be overwritten", "restore", *arguments, folder=tmp_path)
    arguments = (sample, "-o", tmp_path / "x.png", "--samples", "2", "--noise", "0.1")
    refused(pellucid_, IMAGE, "would be overwritten", "restore", *arguments, folder=tmp_path)


def test_arrays_of_other_channels(pellucid_: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "hwc.npy", np.ones((9, 9, 4), np.float32))
    arguments = (tmp_path / "hwc.npy", "-A", "gaussian-blur:std=1", "-o", tmp_path / "out.npy")
    refused(pellucid_, SHAPE, "channels", "restore", *arguments, folder=tmp_path)


def test_measurements_beyond_all_numbers(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    arguments = (photo, "-o", tmp_path / "y.tif", "--noise", "1e39")
    refused(pellucid_, PROBLEM, "floating-point", "degrade", *arguments, folder=tmp_path)


def test_a_bad_file_in_a_folder_costs_no_other(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"")
    (tmp_path / "in" / "b.png").write_bytes(photo.read_bytes())
    for command in ("degrade", "restore"):
        (out := tmp_path / command).mkdir()
        ran = pellucid_(command, tmp_path / "in", "-o", out, "--noise", "0.1")
        assert ran.code == IMAGE and "0 bytes" in ran.err and "1 of 2 pictures" in ran.err
        assert [path.name for path in out.iterdir()] == ["b.png"]


def test_transparency_into_jpeg(pellucid_: Command, tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (1, 2, 3, 4)).save(tmp_path / "clear.png")
    arguments = ("restore", tmp_path / "clear.png", "-o", tmp_path / "x.jpg", "--noise", "0.1")
    refused(pellucid_, IMAGE, "transparency", *arguments, folder=tmp_path)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="a folder that nobody can write to")
def test_unwritable_folder(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    refused(
        pellucid_, IMAGE, "cannot write", "restore", photo, "-o", "/proc/out.png", "--noise", "0.1", folder=tmp_path
    )


def test_one_bad_picture_of_several_keeps_no_other_back(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    bad, out = tmp_path / "bad.png", tmp_path / "out"
    bad.write_bytes(b"")
    out.mkdir()
    ran = pellucid_("restore", bad, photo, "-o", out, "--noise", "0.1", "--nfe", "5")
    assert ran.code == IMAGE and [p.name for p in out.iterdir()] == ["photo.png"]
    assert "0 bytes" in ran.err and "1 of 2 pictures" in ran.err and "Traceback" not in ran.err


def test_an_interruption_leaves_nothing(
    pellucid_: Command, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pellucid.cli.restoring.reconstruct", interrupted)
    refused(pellucid_, 130, "interrupted", "restore", photo, "--noise", "0.1", folder=tmp_path)


def test_an_internal_error_is_one_line_too(
    pellucid_: Command, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("pellucid.cli.restoring.reconstruct", broken)
    refused(pellucid_, 70, "PELLUCID_TRACEBACK", "restore", photo, "--noise", "0.1", folder=tmp_path)
    monkeypatch.setenv("PELLUCID_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        pellucid_("restore", photo, "--noise", "0.1")


def test_training_without_a_configuration(pellucid_: Command, tmp_path: Path) -> None:
    refused(pellucid_, CONFIG, "cannot read", "train", "prior", tmp_path / "nowhere.toml", folder=tmp_path)


def test_folders_that_are_no_priors(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    run, estimator = tmp_path / "run", tmp_path / "my net"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.json").write_text("{}")
    estimator.mkdir()
    (estimator / "card.json").write_text('{"kind": "estimator", "licence": "CC0"}')
    blur = ("-A", "gaussian-blur:std=1", "--noise", "0.1")
    arguments = ("restore", photo, *blur, "--prior")
    refused(pellucid_, PRIOR, f"ship it first: pellucid train ship {run} --to OTHER", *arguments, run, folder=tmp_path)
    refused(pellucid_, PRIOR, f"a method of its own: -m '{estimator}'", *arguments, estimator, folder=tmp_path)
    assert "CC0" in pellucid_("priors", "info", estimator).out


def test_a_network_that_is_not_there_is_named_by_its_kind() -> None:
    for loads, words in ((load_estimator, "no estimator named"), (load_autoencoder, "no autoencoder named")):
        with pytest.raises(UnknownNameError, match=words):
            loads("nowhere")


def test_colour_for_a_grey_prior() -> None:
    prior = DiffusionPrior(shrink, predicts="denoiser", channels=1)
    with pytest.raises(ShapeError, match=r"pictures of 1 channel, not of 3; convert the picture to grey first"):
        prior.check((3, 8, 8))
    prior.check((1, 8, 8))


def test_data_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no pictures"):
        open_source(tmp_path / "empty")
    Image.new("L", (9, 9)).save(tmp_path / "empty" / "small.png")
    with pytest.raises(ConfigError, match=r"at least 64 pixels \(min_side\)"):
        open_source(tmp_path / "empty")
