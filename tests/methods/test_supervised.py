"""Supervised networks as methods and as initial estimates, by name and by folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from pellucid import methods
from pellucid.errors import PriorError, UnknownNameError
from pellucid.loop import reconstruct
from pellucid.nn.estimator import make_estimator
from pellucid.operators.text import parse
from pellucid.prior.gaussian import GaussianPrior
from pellucid.problem import Problem
from pellucid.start.admm import TotalVariation
from pellucid.start.initial import Noised, PseudoInverse
from pellucid.start.network import Restored
from pellucid.zoo import load_estimator

SHAPE = (3, 16, 16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A shipped estimator of our own: a UNet whose correction is not zero."""
    from safetensors.torch import save

    torch.manual_seed(0)
    words = {"class": "unet", "channels": 3, "scale": 1, "widths": [8, 8], "blocks": [1, 1], "heads": 1, "embedding": 8}
    network = make_estimator(words)
    torch.nn.init.normal_(network.network.head.weight, std=0.05)
    content = save({key: value.contiguous() for key, value in network.state_dict().items()})
    made = tmp_path / "mine"
    made.mkdir()
    (made / "model.safetensors").write_bytes(content)
    card = {"kind": "estimator", "network": words, "sha256": hashlib.sha256(content).hexdigest()}
    (made / "card.json").write_text(json.dumps(card))
    return made


def problem() -> Problem:
    x = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(1))
    blur = parse("gaussian-blur:std=1").build(SHAPE)
    return Problem(blur(x), blur, 0.0)


def test_the_network_alone_is_a_method_without_network_calls_of_the_prior(folder: Path) -> None:
    result = reconstruct(problem(), GaussianPrior.natural(16), methods.get(str(folder)).build())
    with torch.no_grad():
        expected = load_estimator(folder)(problem().y)
    assert torch.allclose(result.image.float(), expected, atol=1e-5) and int(result.nfe.max()) == 0
    assert not torch.allclose(expected, problem().y, atol=1e-3)


def test_an_initial_estimate_is_named_by_a_word(folder: Path) -> None:
    starts = {word: methods.METHODS["ccdf"].build(5, initial=word).start for word in (None, "pinv", "tv", str(folder))}
    kinds = {word: type(start.initial) for word, start in starts.items() if isinstance(start, Noised)}
    assert kinds == {None: PseudoInverse, "pinv": PseudoInverse, "tv": TotalVariation, str(folder): Restored}
    result = reconstruct(problem(), GaussianPrior.natural(16), methods.get("ccdf").build(5, initial=str(folder)))
    assert torch.isfinite(result.image).all()


def test_what_is_no_estimator_is_no_method(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="no method named"):
        methods.get(str(tmp_path))
    with pytest.raises(UnknownNameError, match="named 'nowhere'"):
        methods.METHODS["ccdf"].build(5, initial="nowhere")
    with pytest.raises(PriorError, match="kind 'prior', not 'estimator'"):
        methods.METHODS["ccdf"].build(5, initial="photo")


def test_a_network_that_enlarges_fits_the_operator_that_makes_smaller() -> None:
    network = make_estimator({"class": "swinir", "scale": 2, "width": 12, "depths": [1], "heads": 2, "window": 4})
    x = torch.rand(1, 3, 16, 16)
    small = parse("bicubic:factor=2").build((3, 16, 16))
    with torch.no_grad():
        assert network(small(x)).shape == x.shape
        assert F.interpolate(small(x), scale_factor=2).shape == x.shape
