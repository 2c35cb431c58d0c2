"""What is shipped: every card is whole, every network loads, and the distributions hold what they say."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path

import pytest
import torch

from pellucid import zoo
from pellucid.errors import PriorError, UnknownNameError
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
    channels = int(card.data["network"].get("channels", card.data["network"].get("in_channels", 3)))
    x = torch.rand(2, channels, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        if card.kind in ("prior", "latent-prior"):
            out = network(x, torch.tensor([0.1, 3.0]))
        elif card.kind == "autoencoder":
            out = zoo.load_autoencoder(card.folder).decode(zoo.load_autoencoder(card.folder).encode(x))
        else:
            out = network(x)
    assert torch.isfinite(out).all() and out.shape[:2] == x.shape[:2]


def test_together_they_stay_below_what_a_distribution_may_weigh() -> None:
    weights = [(CARDS[name].folder / "model.safetensors").stat().st_size for name in OTHERS]
    assert sum(weights) < 95e6


def test_the_distribution_holds_every_network_but_photo() -> None:
    project = tomllib.loads((ROOT / "zoo" / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included == {name: f"pellucid_zoo/{name}" for name in OTHERS}


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
