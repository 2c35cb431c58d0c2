"""What is shipped: every card is whole, every network loads, and the distributions hold what they say."""

from __future__ import annotations

import hashlib
import json
import tomllib
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch

from pellucid import zoo
from pellucid.codec import AffineCodec
from pellucid.errors import PriorError, UnknownNameError
from pellucid.methods.supervised import is_estimator
from pellucid.nn.parameter import ParameterHead
from pellucid.process import DiscreteVP
from pellucid.zoo.networks import KINDS, build

ROOT = Path(__file__).parents[1]
CARDS = {path.parent.name: zoo.Card.read(path.parent) for path in sorted((ROOT / "zoo").glob("*/card.json"))}
OTHERS = sorted(set(CARDS) - {"photo"})


def test_there_is_something_to_test() -> None:
    assert "photo" in CARDS


@pytest.mark.parametrize("name", CARDS)
def test_a_card_tells_what_it_must_and_its_file_is_the_one_it_names(name: str) -> None:
    card = CARDS[name]
    for key in ("name", "summary", "network", "range", "sha256", "licence", "training", "quality", "data", "command"):
        assert card.data.get(key), f"{name}: {key}"
    assert card.name == name and card.kind in KINDS
    assert {"steps", "seconds", "device"} <= set(card.data["training"])
    assert card.data["quality"]["protocol"] and card.data["data"]["licences"]
    content = (card.folder / "model.safetensors").read_bytes()
    assert hashlib.sha256(content).hexdigest() == card.data["sha256"]
    assert len(content) <= (16 if name == "photo" else 32) * 1e6
    train = tomllib.loads((card.folder / "train.toml").read_text())
    assert train["ship"]["to"] == f"zoo/{name}"


@pytest.mark.parametrize("name", CARDS)
def test_every_network_loads_and_gives_finite_pictures(name: str) -> None:
    card = CARDS[name]
    if card.kind == "autoencoder":
        pytest.importorskip("diffusers")
    network = build(card)
    words = card.data["network"].get("network", card.data["network"])
    channels = int(words.get("channels", words.get("in_channels", 3)))
    x = torch.rand(2, channels, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        if card.kind in ("prior", "latent-prior"):
            out = network(x, torch.tensor([0.1, 3.0]))
        elif card.kind == "autoencoder":
            out = zoo.load_autoencoder(card.folder).decode(zoo.load_autoencoder(card.folder).encode(x))
        elif card.kind == "dirac":
            given = torch.cat([x, torch.ones_like(x[:, :1])], dim=1) if card.data["network"].get("lifted") else x
            out, _ = network(given, torch.tensor([0.01, 0.05]))
        elif card.kind == "severity":
            out, s2 = network(x)
            assert s2.shape == (2,) and (s2 > 0).all() and card.data["calibration"]["temperature"] > 0
        elif card.kind == "parameter":
            assert isinstance(network, ParameterHead)
            told = network(
                torch.rand(2, network.config["features"], 16, 16, generator=torch.Generator().manual_seed(0))
            )
            assert torch.isfinite(told).all() and told.shape == (2, network.config["parameters"])
            return
        else:
            out = network(x)
    assert torch.isfinite(out).all() and out.shape[:2] == x.shape[:2]


def test_together_they_stay_below_what_a_distribution_may_weigh() -> None:
    """A wheel is a zip file, and an index takes 100 MB; a stretch in the middle of each file tells how it packs."""
    packed = 0.0
    for name in OTHERS:
        content = (CARDS[name].folder / "model.safetensors").read_bytes()
        middle = content[len(content) // 3 :][: 2**18]
        packed += len(content) * len(zlib.compress(middle)) / len(middle)
    assert packed < 98e6


def test_the_distribution_holds_every_network_but_photo() -> None:
    project = tomllib.loads((ROOT / "zoo" / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    trained = {path.parent.name for path in (ROOT / "zoo").glob("*/train.toml")}
    assert set(OTHERS) <= trained - {"photo"}
    assert wheel["sources"] == {name: f"pellucid_zoo/{name}" for name in trained - {"photo"}}
    assert wheel["exclude"] == ["/photo"]
    found = {path for pattern in wheel["include"] for path in (ROOT / "zoo").glob(pattern.removeprefix("/"))}
    packed = {path.relative_to(ROOT / "zoo").as_posix() for path in found if path.parent.name != "photo"}
    carded = {f"{name}/{file}" for name in OTHERS for file in ("card.json", "model.safetensors")}
    assert packed == {"pellucid_zoo/__init__.py"} | carded


def test_a_network_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(PriorError, match="kind 'prior', not 'denoiser'"):
        zoo.load_module("photo", "denoiser")
    with pytest.raises(UnknownNameError):
        zoo.load_module("phot", "prior")
    data = json.loads((ROOT / "zoo" / "photo" / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps(data | {"kind": "oracle"}))
    with pytest.raises(PriorError, match="kind 'oracle'"):
        build(zoo.Card.read(tmp_path))
    (tmp_path / "card.json").write_text(json.dumps(data | {"network": {"widths": "many"}}))
    with pytest.raises(PriorError, match="describes no network"):
        build(zoo.Card.read(tmp_path))


SMALL = {"channels": 3, "widths": [8, 8], "blocks": [1, 1], "heads": 1, "embedding": 8}


def written(folder: Path, network: dict[str, Any], **card: Any) -> zoo.Card:
    """A shipped prior with weights of zeros, in float16."""
    from safetensors.torch import save

    from pellucid.nn.edm import EDMDenoiser
    from pellucid.nn.unet import UNet

    with torch.device("meta"):
        shapes = EDMDenoiser(UNet(**network), 0.5).state_dict()
    content = save({key: torch.zeros(value.shape, dtype=torch.float16) for key, value in shapes.items()})
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes(content)
    return carded(folder, network, sha256=hashlib.sha256(content).hexdigest(), **card)


def carded(folder: Path, network: Any, **card: Any) -> zoo.Card:
    """Its card alone."""
    data = {"kind": "prior", "network": network, "sigma_data": 0.5, **card}
    (folder / "card.json").write_text(json.dumps(data))
    return zoo.Card.read(folder)


def test_a_network_may_be_as_large_as_its_card_says_and_no_larger(tmp_path: Path) -> None:
    large = {"widths": [1024], "blocks": [2], "heads": 0, "embedding": 8}
    card = written(tmp_path / "large", large)
    file = card.folder / "model.safetensors"
    assert file.stat().st_size > 64 * 2**20
    assert sum(value.numel() for value in zoo.read_weights(card).values()) > 32 * 2**20
    with pytest.raises(PriorError, match=r"is of [0-9,]+ bytes; the network of its card takes [0-9,]+ at most"):
        zoo.read_weights(carded(card.folder, SMALL, sha256=card.data["sha256"]))


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ({**SMALL, "widths": [-8, 8]}, "describes no network: .*negative"),
        ({**SMALL, "widths": [10**6, 10**6]}, "do not fit the network of its card"),
        ({**SMALL, "blocks": [1, 10**9]}, "describes no network: it has too many layers"),
        ({**SMALL, "blocks": [1]}, "describes no network"),
        ({**SMALL, "unshuffle": "2"}, "describes no network"),
        ([], "describes no network"),
    ],
)
def test_a_hostile_card_ends_in_a_clear_error_before_memory_is_taken(
    tmp_path: Path, network: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pellucid.checkpoints.announced.MOST_CALLS", 5000)
    card = written(tmp_path / "small", SMALL)
    build(card)
    with pytest.raises(PriorError, match=said):
        build(carded(card.folder, network, sha256=card.data["sha256"]))


def test_noise_of_no_size_is_refused(tmp_path: Path) -> None:
    card = written(tmp_path / "small", SMALL)
    for wrong in (0, -1, float("nan"), "half", None):
        with pytest.raises(PriorError, match="describes no network"):
            build(carded(card.folder, SMALL, sha256=card.data["sha256"], sigma_data=wrong))


def test_a_latent_prior_names_its_codec_and_keeps_its_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = {"beta_schedule": "linear", "num_train_timesteps": 500, "beta_start": 1e-3, "beta_end": 0.03}
    card = written(tmp_path / "latent", SMALL, kind="latent-prior", schedule=words)
    with pytest.raises(PriorError, match="names no codec"):
        zoo.load(card.folder)
    monkeypatch.setattr(zoo, "_codec", lambda *_: AffineCodec())
    process = zoo.load(card.folder).process
    assert isinstance(process, DiscreteVP) and process.t_max == 500
    t = torch.tensor([10.0, 400.0])
    assert torch.equal(process.sigma(t), DiscreteVP.linear(500, 1e-3, 0.03).sigma(t))
    for wrong in ("linear", {"beta_schedule": "steep"}, {"beta_end": "far"}, {"num_train_timesteps": 10**12}):
        carded(card.folder, SMALL, kind="latent-prior", schedule=wrong, sha256=card.data["sha256"])
        with pytest.raises(PriorError, match="schedule"):
            zoo.load(card.folder)


def test_one_damaged_card_is_passed_over_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("deep", "[" * 200_000), ("list", "[]"), ("half", '{"name": '), ("large", " " * (2**24 + 1))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.json").write_text(text)
        with pytest.raises(PriorError, match=f"{name}.card.json"):
            zoo.Card.read(tmp_path / name)
    written(tmp_path / "whole", SMALL, summary="mine")
    monkeypatch.setenv("PELLUCID_ZOO", str(tmp_path))
    with pytest.warns(UserWarning, match="passed over: .*card.json") as told:
        cards = {card.name: card for card in zoo.available()}
    assert len(told) == 4 and cards["whole"].summary == "mine" and "photo" in cards


def test_an_imported_folder_is_of_the_kind_that_its_role_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cards = {
        "estimator": {"checkpoint": "swinir", "role": "restorer"},  # as older versions wrote it
        "restoration-prior": {"checkpoint": "dirac", "role": "restorer"},
        "autoencoder": {"checkpoint": "ldm-autoencoder", "kind": "autoencoder"},
        "oracle": {"checkpoint": "of the future", "kind": "oracle"},
    }
    for name, data in cards.items():
        (tmp_path / f"my-{name}").mkdir()
        (tmp_path / f"my-{name}" / "card.json").write_text(json.dumps(data))
    monkeypatch.setenv("PELLUCID_ZOO", str(tmp_path))
    kinds = {card.name: card.kind for card in zoo.available()}
    assert {name: kinds[f"my-{name}"] for name in cards} == {name: name for name in cards}
    for name in cards:
        assert is_estimator(f"my-{name}") is is_estimator(str(tmp_path / f"my-{name}")) is (name == "estimator")
    with pytest.raises(PriorError, match="its role is restoration-prior, not that of an estimator"):
        zoo.load_estimator("my-restoration-prior")
    with pytest.raises(PriorError, match="was imported"):
        zoo.load_module("my-autoencoder", "autoencoder")
