"""Imported Dirac networks as priors of the method dirac."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pellucid import zoo
from pellucid.checkpoints.restoration import process_of
from pellucid.errors import PriorError
from pellucid.loop import reconstruct
from pellucid.methods import dirac
from pellucid.nn.restorer import DiracNetwork
from pellucid.nn.songunet import SongUNet
from pellucid.operators.families import BlurFamily, MaskFamily
from pellucid.prior.base import State
from pellucid.prior.dirac import DiracPrior
from pellucid.problem import Problem

SMALL = {"resolution": 16, "width": 8, "multiples": [1, 1], "blocks": 1, "attention": [], "embedding": 2}


def imported(folder: Path, card: dict[str, Any]) -> Path:
    """A folder as `pellucid import` writes it."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = SongUNet(**SMALL)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(network.config))
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / "model.safetensors")
    (folder / "card.json").write_text(json.dumps({"checkpoint": "dirac", **card}))
    return folder


def test_the_prior_is_the_residual_network_on_its_process(tmp_path: Path) -> None:
    folder = imported(tmp_path / "mine", {"process": {"family": "blur", "noise": [0.02, 0.04]}})
    prior = zoo.load(folder, precision="float32")
    assert isinstance(prior, DiracPrior)
    t = torch.tensor([0.5, 1.0], dtype=torch.float64)
    assert prior.process.sigma(t).tolist() == pytest.approx([0.02 * 2**0.5, 0.04])
    y = torch.rand(2, 3, 18, 20)  # sides that the network does not take: padded, and cut again
    found = prior.estimate(State(y[..., :16, :16], t)).x0
    wanted = _network(folder).restored(y[..., :16, :16], prior.process.sigma(t).float())
    assert torch.allclose(found, wanted, atol=1e-6)
    operator = prior.process.family((3, 18, 20)).at(1.0)
    result = reconstruct(Problem(operator(y), operator, 0.04), prior, dirac(4))
    assert result.image.shape == y.shape and result.nfe.tolist() == [4, 4]


def _network(folder: Path) -> SongUNet:
    from pellucid.checkpoints.songunet import load_songunet

    return load_songunet(folder)


def test_the_process_is_what_the_checkpoint_says() -> None:
    blur = process_of(Path("x"), {"training": {"operator_config": {"name": "gaussian_blur"}}})
    assert isinstance(blur.family((3, 32, 32)), BlurFamily)
    assert blur.sigma(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([0.01, 0.05])
    words = {
        "operator_config": {"mask_min_std": 0.2, "mask_max_std": 30},
        "noise_config": {"a_std": 0.03, "b_std": 0.01},
    }
    mask = process_of(Path("x"), {"training": words})
    family = mask.family((3, 32, 32))
    assert isinstance(family, MaskFamily) and (family.narrowest, family.widest) == (0.2, 30)
    assert mask.sigma(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([0.01, 0.03])


def test_a_card_that_says_nothing_is_refused_with_a_remedy() -> None:
    for card in ({}, {"training": {"operator_config": {"name": "magic"}}}):
        with pytest.raises(PriorError, match='write it there, as in "process"'):
            process_of(Path("x"), card)
    with pytest.raises(PriorError, match="cannot be used"):
        process_of(Path("x"), {"process": {"family": "magic"}})


@pytest.mark.parametrize(
    "damage",
    [
        {"calibration": [1]},
        {"calibration": {"points": [1]}},
        {"calibration": {"points": {"psnr": 5}}},
        {"calibration": {"tradeoff": 5}},
        {"calibration": {"tradeoff": [5]}},
        {"process": {"family": "blur", "noise": [0.01, float("inf")]}},
        {"process": {"family": "blur", "noise": [0.01, 10**400]}},
        {"process": {"family": "blur", "noise": [0.01]}},
        {"process": {"family": "magic", "noise": [0.01, 0.05]}},
        {"process": [1]},
    ],
    ids=str,
)
def test_a_damaged_card_of_our_own_is_refused_by_name(damage: dict[str, Any], tmp_path: Path) -> None:
    from safetensors.torch import save_file

    small = {"channels": 3, "widths": [8, 8], "blocks": [1, 1], "heads": 1, "embedding": 8}
    folder = tmp_path / "mine"
    folder.mkdir()
    weights = {key: value.half().contiguous() for key, value in DiracNetwork(small).state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    card = {"name": "mine", "kind": "dirac", "network": {"network": small}, "sha256": sha256}
    card["process"] = {"family": "blur", "noise": [0.01, 0.05]}
    (folder / "card.json").write_text(json.dumps(card))
    assert isinstance(zoo.load(folder), DiracPrior)
    (folder / "card.json").write_text(json.dumps(card | damage))
    with pytest.raises(PriorError, match=r"card\.json"):
        zoo.load(folder)


def test_huge_numbers_of_a_checkpoint_are_refused() -> None:
    words = {"operator_config": {"mask_min_std": 0.1, "mask_max_std": 10**400}}
    with pytest.raises(PriorError, match=r"card\.json"):
        process_of(Path("x"), {"training": words})
