"""Dirac's network: what each prediction is made of, its classes, and its beginning as a denoiser of pictures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pellucid.degradation import Degradation
from pellucid.errors import CompatibilityError, ConfigError
from pellucid.nn.bands import SeverityHead
from pellucid.nn.edm import EDMDenoiser
from pellucid.nn.restorer import PREDICTIONS, DiracNetwork, Restorer
from pellucid.nn.unet import UNet
from pellucid.operators.families import BlurFamily, MaskFamily
from pellucid.prior.base import State
from pellucid.prior.dirac import DiracPrior

UNET: dict[str, Any] = {"widths": [8, 16], "blocks": [1, 1], "heads": 1, "embedding": 16}
SONG: dict[str, Any] = {
    "class": "songunet",
    "resolution": 16,
    "width": 8,
    "multiples": [1, 2],
    "blocks": 1,
    "attention": [],
}
DIFFUSERS: dict[str, Any] = {
    "class": "UNet2DModel",
    "block_out_channels": [8, 16],
    "down_block_types": ["DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "norm_num_groups": 4,
}
CLASSES = {"unet": UNET, "songunet": SONG, "UNet2DModel": DIFFUSERS}


def shown(batch: int = 2, side: int = 16) -> tuple[Tensor, Tensor]:
    y = torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0))
    return y, torch.tensor([0.01, 0.05])[:batch]


def stirred(network: torch.nn.Module) -> torch.nn.Module:
    """Weights that are not zero anywhere, so that no output is."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return network


def made(name: str, **words: Any) -> Restorer:
    if name == "UNet2DModel":
        pytest.importorskip("diffusers")
    network = stirred(Restorer(CLASSES[name], **words)).eval()
    assert isinstance(network, Restorer)
    return network


@pytest.mark.parametrize("predicts", PREDICTIONS)
@pytest.mark.parametrize("name", CLASSES)
def test_each_prediction_is_made_of_what_it_says(name: str, predicts: str) -> None:
    """x0 and degraded: y + F, or EDM's mixture; noise: y - sigma F. One image alone is as in a batch."""
    network = made(name, predicts=predicts)
    y, sigma = shown()
    with torch.no_grad():
        found, rate = network(y, sigma)
        level = sigma[:, None, None, None]
        if name == "unet":
            x, noise = 2 * y - 1, 2 * level
            total = noise**2 + 0.25
            f = network.network(x / total.sqrt(), torch.log(2 * sigma) / 4)
            wanted = (0.25 / total * x + 0.5 * noise / total.sqrt() * f + 1) / 2
        elif name == "songunet":
            f = network.network(y, sigma)
            wanted = y + f
        else:
            f = network.network(2 * y - 1, 1000 * sigma).sample
            wanted = y + f
        if predicts == "noise":
            wanted = y - level * f
        alone = network(y[1:], sigma[1:])[0]
    assert rate is None and f.abs().max() > 1e-3
    assert torch.allclose(found, wanted, atol=1e-5) and torch.allclose(alone, found[1:], atol=1e-5)


@pytest.mark.parametrize("name", ["unet", "UNet2DModel"])
def test_rates_are_channels_of_their_own(name: str) -> None:
    network = made(name, predicts="degraded", rates=True)
    y, sigma = shown()
    with torch.no_grad():
        estimate, rate = network(y, sigma)
    assert rate is not None and rate.shape == estimate.shape == y.shape
    assert float((rate - estimate).abs().max()) > 1e-3 and float(rate.abs().max()) > 1e-3


def test_what_cannot_be_built_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="rates need a 'unet'"):
        Restorer(SONG, rates=True)
    with pytest.raises(ConfigError, match="predicts must be"):
        Restorer(UNET, predicts="score")
    with pytest.raises(ConfigError, match="class is"):
        Restorer({"class": "transformer"})


def test_with_a_denoiser_s_weights_it_is_that_denoiser() -> None:
    """EDM's in [-1, 1] at twice the noise, as pictures in [0, 1]; to float32's accuracy."""
    denoiser = EDMDenoiser(stirred(UNet(**UNET)), 0.5).eval()
    restorer = Restorer(UNET, sigma_data=0.5).eval()
    restorer.network.load_state_dict(denoiser.network.state_dict())
    y, sigma = shown()
    with torch.no_grad():
        wanted = (denoiser(2 * y - 1, 2 * sigma) + 1) / 2
        found = restorer(y, sigma)[0]
    assert float((found - wanted).abs().max()) < 2e-6
    assert float((wanted - y).abs().max()) > 1e-3


def test_the_head_tells_a_time_of_each_picture_whatever_its_size() -> None:
    head = stirred(SeverityHead())
    with torch.no_grad():
        for side in (1, 7, 16, 33):
            y = torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(2))
            t = head(y)
            assert t.shape == (3,) and bool(((t > 0) & (t < 1)).all())
            assert torch.allclose(head(y[2:]), t[2:], atol=1e-5)


def test_the_network_is_rebuilt_from_what_it_says_of_itself() -> None:
    network = DiracNetwork(UNET, "noise", True, 0.4, False)
    again = DiracNetwork(**network.config)
    assert network.severity is None and again.config == network.config
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in network.state_dict().items()}


def test_a_lifted_network_is_shown_what_the_pixels_say_outright() -> None:
    """w y / (w^2 + 16 sigma^2) and w; begun from `photo`, it denoises the former, whatever the map of weights."""
    process = Degradation(MaskFamily((3, 32, 32), 6.0))
    t = torch.tensor([0.3, 1.0], dtype=torch.float64)
    y = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    given = process.lifted(y, t)
    weights = process.family((3, 32, 32)).at(t).get_buffer("weights").float()
    sigma = process.sigma(t).float()[:, None, None, None]
    assert given.shape == (2, 4, 32, 32) and torch.allclose(given[:, 3:], weights.expand(2, 1, 32, 32))
    assert torch.allclose(given[:, :3], weights * y / (weights**2 + 16 * sigma**2), atol=1e-6)
    lifted = Restorer(UNET, lifted=True).eval()
    assert lifted(given, process.sigma(t))[0].shape == y.shape
    prior = DiracPrior.of(DiracNetwork(UNET, lifted=True).eval(), process)
    wanted = prior.network.network.restorer(given, process.sigma(t))[0]  # type: ignore[operator, union-attr]
    assert torch.allclose(prior.estimate(State(y, t)).x0, wanted, atol=1e-6)
    with pytest.raises(CompatibilityError, match="weigh pixels"):
        Degradation(BlurFamily((3, 32, 32))).lifted(y, t)
    with pytest.raises(ConfigError, match="lifted"):
        Restorer(UNET, "noise", lifted=True)
