"""`pellucid restore --adapt`: the prior is adapted to every picture before it is restored."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pellucid.zoo
from pellucid.cli import run
from pellucid.nn.edm import EDMDenoiser
from pellucid.nn.unet import UNet
from pellucid.prior.diffusion import DiffusionPrior
from tests.cli.conftest import Command, Ran, pixels

pytest.importorskip("lancedb")
pytest.importorskip("peft")

NO_PICTURE = "compose:[bicubic:factor=4],[jpeg:quality=40]"  # y is small, and A not linear
SR = ("-A", "bicubic:factor=4", "-m", "adir", "--nfe", "4")
SHORT = ("--adapt-steps", "3", "--adapt-lr", "1e-2")


def network(channels: int = 3) -> DiffusionPrior:
    torch.manual_seed(0)
    unet = UNet(channels, (8, 8), (1, 1), unshuffle=2, heads=1, embedding=8)
    torch.nn.init.normal_(unet.head.weight, std=0.05)
    denoiser = EDMDenoiser(unet, 0.5).requires_grad_(False)
    return DiffusionPrior(denoiser, predicts="denoiser", multiple=4, channels=channels)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Runs a command line with a network of random weights in place of "photo"; adapters are kept in `tmp_path`."""
    shipped = pellucid.zoo.load

    def load(name: str, *rest: Any, **options: Any) -> DiffusionPrior:
        return network() if name == "photo" else shipped(name, *rest, **options)

    monkeypatch.setattr(pellucid.zoo, "load", load)
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path / "cache"))

    def command(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        code = run([str(a) for a in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return command


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures of grain, known by their thumbnails; three are CC0."""
    from pellucid.retrieval import Index

    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for level in range(5):
        values = 50 * level + rng.integers(0, 30, (24, 24, 3))
        Image.fromarray(values.astype(np.uint8)).save(folder / f"{level}.png")
    made = Index.create(tmp_path_factory.mktemp("index") / "photos.index", "pixel")
    made.add([folder / f"{level}.png" for level in range(3)], licence="CC0")
    made.add([folder / "3.png", folder / "4.png"])
    return Path(made.uri)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A measurement of 8 x 8 pixels."""
    y, x = np.mgrid[:8, :8] / 8
    Image.fromarray((255 * np.stack([x, y, x * y], 2)).astype(np.uint8)).save(tmp_path / "small.png")
    return tmp_path / "small.png"


def report(ran: Ran) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    return dict(json.loads(ran.out.splitlines()[0]))


def settings_of(path: Path) -> dict[str, Any]:
    with Image.open(path) as image:
        return dict(json.loads(image.text["pellucid:settings"]))  # type: ignore[attr-defined]


def test_neighbours_are_reported_with_their_licences(
    command: Command, small: Path, index: Path, tmp_path: Path
) -> None:
    adapt = ("--adapt", index, "--neighbours", "4", *SHORT)
    said = report(command("restore", small, "-o", tmp_path / "a.png", *SR, *adapt, "--json"))
    found = said["adaptation"]
    assert (found["steps_taken"], found["cached"], found["used"]) == (3, False, 4) and found["seconds"] > 0
    assert len(found["neighbours"]) == 4 and found["search_seconds"] > 0
    distances = [one["distance"] for one in found["neighbours"]]
    assert distances == sorted(distances) and len({one["id"] for one in found["neighbours"]}) == 4
    assert sum(found["licences"].values()) == 4 and set(found["licences"]) <= {"CC0", "unknown"}
    saved = settings_of(tmp_path / "a.png")["adapt"]
    assert saved == said["settings"]["adapt"]
    assert (saved["steps"], saved["lr"], saved["neighbours"], saved["query"]) == (3, 0.01, 4, "y")
    assert (saved["steps_taken"], saved["licences"], saved["embedder"]) == (3, found["licences"], "pixel:32")
    plain = command("restore", small, "-o", tmp_path / "b.png", *SR)
    assert plain.code == 0 and "adapt" not in settings_of(tmp_path / "b.png")
    assert not torch.equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))


def test_it_is_what_the_library_gives(command: Command, small: Path, index: Path, tmp_path: Path) -> None:
    from pellucid import methods
    from pellucid.adapt import Adaptation, Training, adapt
    from pellucid.images import read
    from pellucid.loop import reconstruct
    from pellucid.operators import parse
    from pellucid.problem import Problem
    from pellucid.retrieval import Index

    flags = ("--adapt", index, "--neighbours", "2", "--adapt-own", "--seed", "5", *SHORT)
    assert command("restore", small, "-o", tmp_path / "a.tif", *SR, *flags, "--depth", "float").code == 0
    y, operator = pixels(small).permute(2, 0, 1)[None] / 255, parse("bicubic:factor=4").build((3, 32, 32))
    problem = Problem(y, operator)
    found = Index.open(index).search_pictures(operator.pinv(y).clamp(0, 1), 2)
    how = Adaptation(training=Training(3, 1e-2, 5), own=True)
    prior = adapt(network(), problem, [one.picture() for one in found], how)
    result = reconstruct(problem, prior, methods.get("adir").build(4, operator), seeds=5)
    written = read(tmp_path / "a.tif").pixels
    assert torch.allclose(written, result.image[0], atol=1e-5)


def test_what_was_learned_before_is_taken_again(command: Command, small: Path, index: Path, tmp_path: Path) -> None:
    flags = (*SR, "--adapt", index, "--neighbours", "2", *SHORT)
    first = command("restore", small, "-o", tmp_path / "a.png", *flags)
    assert "adapted to 2 neighbours: 3 steps" in first.out and "learned before" not in first.out and "CC0" in first.out
    assert len(list((tmp_path / "cache" / "adapters").iterdir())) == 1
    dry = command("restore", small, "-o", tmp_path / "c.png", *flags, "--dry-run")
    assert "learned before and kept" in dry.out
    second = command("restore", small, "-o", tmp_path / "b.png", *flags)
    assert "learned before (" in second.out
    assert torch.equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))
    again = report(command("restore", small, "-o", tmp_path / "c.png", *flags, "--no-adapt-cache", "--json"))
    assert again["adaptation"]["cached"] is False
    other = report(command("restore", small, "-o", tmp_path / "c.png", *flags, "--seed", "1", "--json"))
    assert other["adaptation"]["cached"] is False


def test_the_dry_run_adapts_nothing_and_writes_nothing(
    command: Command, small: Path, index: Path, tmp_path: Path
) -> None:
    flags = (*SR, "--adapt", index, "--neighbours", "2", "--dry-run")
    ran = command("restore", small, "-o", tmp_path / "a.png", *flags)
    assert ran.code == 0 and f"2 of 5 pictures in {index}, 100 steps; the nearest is" in ran.out
    assert not (tmp_path / "cache").exists() and not (tmp_path / "a.png").exists()
    short = report(command("restore", small, "-o", tmp_path / "a.png", *flags, *SHORT, "--json"))
    long = report(command("restore", small, "-o", tmp_path / "a.png", *flags, "--adapt-steps", "40000", "--json"))
    assert long["predicted_seconds"] > 20 * max(short["predicted_seconds"], 0.1)
    assert len(short["adaptation"]["neighbours"]) == 2


def test_an_adapter_is_saved_and_used(command: Command, small: Path, index: Path, tmp_path: Path) -> None:
    file = tmp_path / "small.safetensors"
    flags = (*SR, "--adapt", index, "--neighbours", "2", *SHORT)
    ran = command("restore", small, "-o", tmp_path / "a.png", *flags, "--save-adapter", file)
    assert ran.code == 0 and f"{file}: the adapter" in ran.out and file.is_file()
    ran = command("restore", small, "-o", tmp_path / "b.png", *SR, "--adapter", file)
    assert ran.code == 0 and f"with the adapter {file}" in ran.out
    assert torch.equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))
    said = report(command("restore", small, "-o", tmp_path / "b.png", *SR, "--adapter", file, "--json"))
    assert said["adaptation"]["steps_taken"] == 3 and said["settings"]["adapt"] == {"adapter": str(file)}


def test_several_pictures_each_have_their_own(command: Command, small: Path, index: Path, tmp_path: Path) -> None:
    album, out, adapters = (tmp_path / name for name in ("album", "out", "adapters"))
    for folder in (album, out, adapters):
        folder.mkdir()
    small.rename(album / "a.png")
    Image.fromarray(np.full((8, 8, 3), 250, np.uint8)).save(album / "b.png")
    flags = (*SR, "--adapt", index, "--neighbours", "1", *SHORT)
    ran = command("restore", album, "-o", out, *flags, "--save-adapter", tmp_path / "one.safetensors")
    assert ran.code == 7 and "existing folder" in ran.err
    ran = command("restore", album, "-o", out, *flags, "--save-adapter", adapters, "--json")
    both = [json.loads(line)["adaptation"] for line in ran.out.splitlines()]
    assert [one["neighbours"][0]["name"] for one in both][1] == "4.png" and len({o["adapter"] for o in both}) == 2
    assert sorted(path.name for path in adapters.iterdir()) == ["a.safetensors", "b.safetensors"]


def test_the_measurement_alone_and_a_first_reconstruction(
    command: Command, small: Path, index: Path, tmp_path: Path
) -> None:
    own = report(command("restore", small, "-o", tmp_path / "a.png", *SR, "--adapt-own", *SHORT, "--json"))
    assert own["adaptation"]["neighbours"] == [] and own["adaptation"]["steps_taken"] == 3
    same = report(
        command("restore", small, "-o", tmp_path / "a.png", *SR, "--adapt", "none", "--adapt-own", *SHORT, "--json")
    )
    assert same["adaptation"]["cached"] is True
    text = command("restore", small, "-o", tmp_path / "a.png", *SR, "--adapt-own", *SHORT)
    assert "adapted to the measurement: learned before (3 steps" in text.out
    flags = ("--adapt", index, "--neighbours", "2", *SHORT, "--json")
    y = report(command("restore", small, "-o", tmp_path / "a.png", *SR, *flags))
    both = report(command("restore", small, "-o", tmp_path / "a.png", *SR, *flags, "--adapt-query", "both"))
    assert y["adaptation"]["neighbours"][0]["distance"] != both["adaptation"]["neighbours"][0]["distance"]
    assert both["settings"]["adapt"]["query"] == "both"


def test_all_of_a_small_index_are_taken(command: Command, small: Path, index: Path, tmp_path: Path) -> None:
    ran = command("restore", small, "-o", tmp_path / "a.png", *SR, "--adapt", index, *SHORT)
    assert ran.code == 0 and "holds 5 pictures, all of which" in ran.err and "adapted to 5 neighbours" in ran.out


@pytest.mark.parametrize("method", [["-m", "dps", "--nfe", "3"], ["-m", "ddnm", "--nfe", "3"], ["--nfe", "3"]])
def test_other_methods_and_the_automatic_choice(
    method: list[str], command: Command, small: Path, index: Path, tmp_path: Path
) -> None:
    flags = ("-A", "bicubic:factor=4", "--adapt", index, "--neighbours", "2", *SHORT, "--json")
    said = report(command("restore", small, "-o", tmp_path / "a.png", *flags, *method))
    assert said["adaptation"]["used"] == 2 and said["settings"]["method"] == (method[1] if len(method) > 2 else "ddrm")


def test_a_large_picture_is_adapted_to_whole_and_then_seen_in_tiles(
    command: Command, small: Path, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pellucid.prior.tiled.MEGAPIXEL", 100)
    monkeypatch.setattr("pellucid.prior.tiled.tiled.__defaults__", (16, 4))
    flags = (*SR, "--adapt", index, "--neighbours", "2", *SHORT, "--json")
    said = report(command("restore", small, "-o", tmp_path / "a.png", *flags))
    assert said["settings"]["tiles"] == 9 and said["adaptation"]["steps_taken"] == 3


@pytest.mark.parametrize(
    ("flags", "code", "text"),
    [
        (("--adapt", "no/photos.index"), 7, "pellucid index build"),
        (("--adapt", "none"), 7, "--adapt-own"),
        (("--adapter", "."), 9, "an index belongs to --adapt"),
        (("--neighbours", "3"), 7, "--neighbours is for adaptation"),
        (("--adapt-own", "--neighbours", "3"), 7, "--neighbours is for an index"),
        (("--save-adapter", "a.safetensors"), 7, "--save-adapter is for adaptation"),
        (("--adapt-own", "--adapt-steps", "0"), 7, "--adapt-steps must be at least 1"),
        (("--adapt-own", "--adapt-lr", "0"), 7, "lr must be above 0"),
        (("--adapt", "i", "--adapt-query", "z"), 7, "--adapt-query is one of y, x, both"),
        (("--adapt", "i", "--neighbours", "0"), 7, "at least 1"),
        (("--adapt-own", "--precision", "openvino"), 5, "--precision float32"),
        (("--adapt-own", "-m", "dirac"), 5, "dirac prior"),
        (
            ("--adapt-own", "-A", NO_PICTURE, "-m", "dps", "--shape", "3x32x32"),
            5,
            "takes the measurement for a picture",
        ),
        (("--adapt-own", "--save-adapter", "a.png"), 7, "writes .safetensors"),
        (("--adapter", "no.safetensors"), 9, "no.safetensors is not there"),
        (("--adapter", "a.safetensors", "--adapt", "i"), 7, "--adapt is for learning one"),
        (("--adapter", "a.safetensors", "--adapt-own"), 7, "--adapt-own is for learning one"),
    ],
)
def test_what_cannot_be_is_said_before_any_work(
    flags: tuple[str, ...], code: int, text: str, command: Command, small: Path, tmp_path: Path
) -> None:
    ran = command("restore", small, "-o", tmp_path / "out.png", *SR, *flags)
    assert ran.code == code and text in ran.err, ran.err
    assert not (tmp_path / "out.png").exists()


def test_an_adapter_of_another_network_and_a_measurement_that_is_no_picture(
    command: Command, small: Path, index: Path, tmp_path: Path
) -> None:
    from pellucid.adapt import Adaptation, Training, learn

    other = network(1)
    learn(other, [torch.rand(1, 16, 16)], 1, Adaptation(training=Training(1))).save(tmp_path / "grey.safetensors")
    ran = command("restore", small, "-o", tmp_path / "a.png", *SR, "--adapter", tmp_path / "grey.safetensors")
    assert ran.code == 5 and "another network" in ran.err
    flags = ("-A", NO_PICTURE, "-m", "dps", "--nfe", "2", "--shape", "3x32x32")
    ran = command("restore", small, "-o", tmp_path / "a.png", *flags, "--adapt", index)
    assert ran.code == 5 and "adapting takes the measurement for a picture" in ran.err, ran.err


def test_a_method_without_a_prior_has_none_to_adapt(command: Command, small: Path, tmp_path: Path) -> None:
    flags = ("-A", "bicubic:factor=4", "-m", "pinv", "--adapt-own")
    ran = command("restore", small, "-o", tmp_path / "a.png", *flags)
    assert ran.code == 5 and "pinv asks no prior" in ran.err


def test_peft_is_named_where_it_is_missing(
    command: Command, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    lacking: Callable[..., Any] = lambda name, *rest: None if name == "peft" else found(name, *rest)  # noqa: E731
    monkeypatch.setattr("pellucid.cli.adapting.find_spec", lacking)
    ran = command("restore", small, "-o", tmp_path / "a.png", *SR, "--adapt-own")
    assert ran.code == 9 and "pip install 'pellucid[adapt]'" in ran.err
