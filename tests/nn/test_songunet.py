"""Dirac's network: exact on the recorded one, complete for the published ones."""

from __future__ import annotations

import pytest
import torch

from pellucid.checkpoints.songunet import configuration, recognise
from pellucid.errors import ConfigError
from pellucid.nn.songunet import ResampledConv, SongUNet
from tests.nn.golden import EXACT, published, recorded, relative
from tests.nn.importing import fits, through


def test_it_computes_what_the_published_code_computes() -> None:
    weights, io, _ = recorded("dirac_songunet_reduced")
    network, _ = through("dirac", weights)
    assert isinstance(network, SongUNet)
    assert relative(network(io["x"], io["noise_std"]), io["net_out"]) < EXACT
    assert relative(network.restored(io["x"], io["noise_std"]), io["x0_pred"]) < EXACT


def test_it_is_found_in_a_training_file() -> None:
    weights, io, _ = recorded("dirac_songunet_reduced")
    inside = {f"denoiser_fn.{key}": value for key, value in weights.items()}
    inside["lpips.net.lin0.weight"] = torch.zeros(1, 4, 1, 1)
    settings = {"operator_config": {"name": "gaussian_blur", "max": 3.0, "other": [1]}, "lr": 1e-4}
    network, plan = through("dirac", inside, {"hyper_parameters": settings})
    assert relative(network(io["x"], io["noise_std"]), io["net_out"]) < EXACT
    assert plan.card["training"] == {"operator_config": {"name": "gaussian_blur", "max": 3.0}}


@pytest.mark.parametrize("name", ["dirac_songunet_base", "dirac_songunet_large"])
def test_it_has_a_place_for_every_published_weight(name: str) -> None:
    shapes = published(name)
    assert fits("dirac", shapes) == shapes
    assert fits("dirac", {f"denoiser_fn.{key}": shape for key, shape in shapes.items()}) == shapes
    assert configuration(shapes)["attention"] == ([16] if name.endswith("base") else [32, 16, 8])


def small() -> SongUNet:
    torch.manual_seed(0)
    network = SongUNet(16, 3, 8, (1, 2, 1), 1, (8,)).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape))
    return network


def test_every_image_alone_at_any_multiple() -> None:
    network = small()
    x, sigma = torch.rand(3, 3, 12, 20), torch.tensor([0.01, 0.05, 0.3])
    assert network.multiple == 4
    out = network(x, sigma)
    assert out.shape == x.shape
    torch.testing.assert_close(out[1:2], network(x[1:2], sigma[1:2]), rtol=0, atol=1e-5)
    torch.testing.assert_close(network(x, 0.05)[1], out[1], rtol=0, atol=1e-5)
    assert float((out[0] - network(x, sigma.flip(0))[0]).abs().max()) > 1e-3


def test_its_configuration_is_found_in_the_shapes() -> None:
    network = small()
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert recognise(shapes) and configuration(shapes) == network.config
    assert not recognise({key: shape for key, shape in shapes.items() if "aux_residual" not in key})


@pytest.mark.parametrize("resample", ["up", "down"])
def test_resampling_keeps_a_constant(resample: str) -> None:
    conv = ResampledConv(2, 2, 1, resample).requires_grad_(False)
    conv.weight.copy_(torch.eye(2)[:, :, None, None])
    conv.bias.zero_()  # type: ignore[union-attr]
    x = torch.full((1, 2, 8, 8), 0.7)
    inside = conv(x)[..., 1:-1, 1:-1]
    torch.testing.assert_close(inside, torch.full_like(inside, 0.7))


def test_training_begins_near_zero() -> None:
    network = SongUNet(16, 3, 8, (1, 2), 1, ()).requires_grad_(False)
    assert float(network(torch.rand(1, 3, 16, 16), 0.1).abs().max()) < 1e-3


def test_a_size_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be halved"):
        SongUNet(4, multiples=(1, 1, 1, 1))
