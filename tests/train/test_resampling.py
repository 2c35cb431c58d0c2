"""An autoencoder begins as block means and linear enlargement, SwinIR as interpolation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from pellucid.nn.estimator import make_estimator
from pellucid.nn.resampling import begin_as_interpolation, begin_as_resampling
from pellucid.train.config import AutoencoderConfig
from pellucid.train.tasks.autoencoder import make_autoencoder

pytest.importorskip("diffusers")
WIDTHS = {"block_out_channels": [16, 16, 24], "norm_num_groups": 2}


def smooth(channels: int) -> torch.Tensor:
    """Pictures of a photograph's mean and contrast, (2, channels, 64, 64) in [-1, 1]."""
    noise = torch.randn(2, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    return (0.4 * F.interpolate(noise, size=64, mode="bicubic") - 0.2).clamp(-1, 1)


@pytest.mark.parametrize("kind", ["vq", "kl"])
@pytest.mark.parametrize("channels", [1, 3])
def test_latents_are_block_means_and_decoding_enlarges_them(kind: str, channels: int) -> None:
    torch.manual_seed(0)
    config = AutoencoderConfig(data=Path("d"), out=Path("o"), kind=kind, channels=channels, network=WIDTHS)
    model, x = make_autoencoder(config), smooth(channels)
    with torch.no_grad():
        random = float((model.decode(_latents(model, x), **_whole(kind)).sample - x).square().mean())
    begin_as_resampling(model)
    with torch.no_grad():
        z = _latents(model, x)
        back = model.decode(z, **_whole(kind)).sample
    assert (z[:, :channels] - F.avg_pool2d(x, 4)).abs().max() < 0.12
    enlarged = F.interpolate(F.avg_pool2d(x, 4), scale_factor=4, mode="bilinear")
    assert (back - enlarged)[..., 4:-4, 4:-4].abs().mean() < 0.05
    assert float((back - x).square().mean()) < 0.1 * random
    if kind == "kl":
        with torch.no_grad():
            assert float(model.encode(x).latent_dist.std.max()) < 0.01


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_swinir_begins_as_interpolation(scale: int) -> None:
    torch.manual_seed(0)
    words = {"class": "swinir", "scale": scale, "width": 12, "depths": [1], "heads": 2, "window": 4}
    network = make_estimator(words)
    begin_as_interpolation(network)
    y = torch.arange(24) / 48
    x = (0.2 + y[:, None] ** 2 + y[None, :] / 2 - y[:, None] * y[None, :])[None, None].expand(1, 3, -1, -1)
    fine = (torch.arange(24 * scale) + 0.5) / (48 * scale) - 0.5 / 48
    expected = 0.2 + fine[:, None] ** 2 + fine[None, :] / 2 - fine[:, None] * fine[None, :]
    with torch.no_grad():
        found = network(x.contiguous())
    inside = slice(2 * scale, -2 * scale)
    assert torch.allclose(found[0, 0, inside, inside], expected[inside, inside], atol=1e-5)


def test_groups_too_small_are_refused_with_the_remedy() -> None:
    config = AutoencoderConfig(data=Path("d"), out=Path("o"), network={**WIDTHS, "norm_num_groups": 8})
    with pytest.raises(ValueError, match="smaller norm_num_groups"):
        begin_as_resampling(make_autoencoder(config))


def _latents(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    encoded = model.encode(x)
    return encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()


def _whole(kind: str) -> dict[str, bool]:
    return {"force_not_quantize": True} if kind == "vq" else {}
