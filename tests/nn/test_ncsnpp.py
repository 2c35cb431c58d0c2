"""NCSN++ with a residual pyramid: exact on the recorded one, and a prior once imported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pellucid.checkpoints import convert
from pellucid.checkpoints.folder import load
from pellucid.checkpoints.ncsnpp_residual import configuration
from pellucid.nn.ncsnpp import ResidualNCSNpp, filtered
from pellucid.prior.base import State
from pellucid.prior.diffusion import DiffusionPrior
from tests.nn.golden import EXACT, recorded, relative


def test_it_computes_what_the_published_code_computes() -> None:
    weights, io, _ = recorded("ncsnpp_residual_reduced")
    shapes = {key: tuple(value.shape) for key, value in weights.items() if key != "sigmas"}
    network = ResidualNCSNpp(**configuration(shapes)).requires_grad_(False)
    network.load_state_dict({key: weights[key] for key in shapes})
    for found, wanted in zip(network(io["x"], io["sigma"]), io["out"], strict=True):
        assert relative(found, wanted) < EXACT


@pytest.mark.parametrize(
    ("multiples", "blocks", "attention"),
    [((1, 2), 2, (True, False)), ((1, 2, 2), 1, (False, False, True)), ((2, 1, 1), 1, (False, True, False))],
)
def test_its_configuration_is_found_in_the_shapes(
    multiples: tuple[int, ...], blocks: int, attention: tuple[bool, ...]
) -> None:
    network = ResidualNCSNpp(3, 8, multiples, blocks, attention)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert configuration(shapes) | {"centered": False} == network.config


def test_without_a_pyramid_it_is_refused() -> None:
    with pytest.raises(ValueError, match="no residual pyramid"):
        configuration({"all_modules.3.weight": (8, 3, 3, 3)})


def test_the_filter_keeps_a_constant_away_from_the_edge() -> None:
    x = torch.full((1, 2, 8, 8), 0.3)
    for direction, side in (("down", 4), ("up", 16)):
        out = filtered(x, direction)
        assert out.shape == (1, 2, side, side)
        torch.testing.assert_close(out[..., 1:-1, 1:-1], torch.full((1, 2, side - 2, side - 2), 0.3))


def test_every_image_alone_and_as_a_prior(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = ResidualNCSNpp(3, 8, (1, 2), 1, (False, True)).eval().requires_grad_(False)
    x, sigma = torch.rand(3, 3, 12, 10), torch.tensor([0.1, 1.0, 50.0])
    out = network(x, sigma)
    torch.testing.assert_close(out[1:2], network(x[1:2], sigma[1:2]), rtol=0, atol=1e-5)
    weights = network.state_dict() | {"sigmas": torch.logspace(2, -2, 7)}
    save_file(weights, tmp_path / "weights.safetensors")
    convert.import_file(tmp_path / "weights.safetensors", tmp_path / "made", "ncsnpp-residual")
    prior = load(tmp_path / "made", role="prior")
    assert isinstance(prior, DiffusionPrior) and prior.process.t_max == pytest.approx(100)
    x0 = prior.estimate(State(x, sigma.double())).x0
    torch.testing.assert_close(x0, x + sigma[:, None, None, None] ** 2 * out, rtol=1e-4, atol=1e-4)
    odd = prior.estimate(State(x[..., :9, :7], sigma.double())).x0
    assert odd.shape == (3, 3, 9, 7)
