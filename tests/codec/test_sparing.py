"""A decoder that spares memory gives what the plain one gives, and takes less."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pellucid.codec import sparing
from pellucid.codec.autoencoder import AutoencoderCodec
from pellucid.errors import PriorError
from pellucid.metrics.memory import peak_memory
from pellucid.zoo import load
from tests.latent import ToyAutoencoder

diffusers = pytest.importorskip("diffusers")


def autoencoder(kind: str, seed: int = 0, **words: Any) -> nn.Module:
    torch.manual_seed(seed)
    made: nn.Module = getattr(diffusers, kind)(
        latent_channels=3,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        **words,
    )
    for parameter in made.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return made.eval().requires_grad_(False)


def gradient(codec: AutoencoderCodec, z: Tensor) -> tuple[Tensor, Tensor]:
    z = z.clone().requires_grad_()
    image = codec.decode(z)
    weights = torch.linspace(-1, 1, image.numel(), dtype=image.dtype).view_as(image)
    (found,) = torch.autograd.grad((weights * image**2).sum(), z)
    return image.detach(), found


@pytest.mark.parametrize("part", [1, 3000, 2**30], ids=["smallest", "some", "whole"])
@pytest.mark.parametrize("quantise", [True, False])
@pytest.mark.parametrize("kind", ["VQModel", "AutoencoderKL"])
def test_the_same_picture_and_gradient(kind: str, quantise: bool, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparing, "PART", part)
    module = autoencoder(kind).double()
    z = torch.randn(2, 3, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    spared = AutoencoderCodec(module, factor=2, quantise=quantise, checkpoint=True)
    assert spared._sparable()
    image, expected = gradient(AutoencoderCodec(module, factor=2, quantise=quantise), z)
    found, slope = gradient(spared, z)
    assert (found - image).abs().max() < 1e-11
    assert (slope - expected).norm() < 1e-10 * expected.norm()
    with torch.no_grad():
        assert (spared.decode(z) - image).abs().max() < 1e-11


def test_bfloat16_is_as_near_as_the_plain_decoder() -> None:
    module = autoencoder("VQModel")
    z = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    _, exact = gradient(AutoencoderCodec(module, quantise=False), z)
    errors = []
    for checkpoint in (False, True):
        codec = AutoencoderCodec(module, quantise=False, checkpoint=checkpoint, autocast=torch.bfloat16)
        errors.append(float((gradient(codec, z)[1] - exact).norm() / exact.norm()))
    assert 1e-4 < errors[1] < max(1.5 * errors[0], 0.02)


def test_unknown_decoders_are_computed_again_as_a_whole() -> None:
    toy = AutoencoderCodec(ToyAutoencoder(), factor=2, latent_channels=3, checkpoint=True)
    assert not toy._sparable()
    trained = autoencoder("VQModel").requires_grad_(True)
    assert not AutoencoderCodec(trained, checkpoint=True)._sparable()  # its weights' gradients would be lost
    z = torch.randn(1, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    plain = AutoencoderCodec(ToyAutoencoder(), factor=2, latent_channels=3)
    assert torch.equal(gradient(toy, z)[1], gradient(plain, z)[1])


def test_it_takes_less_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparing, "PART", 2**20)
    module = autoencoder("VQModel", mid_block_add_attention=False)
    z = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    taken = []
    for checkpoint in (False, True):
        codec = AutoencoderCodec(module, quantise=False, checkpoint=checkpoint)
        gradient(codec, z[..., :16, :16])  # code and workspaces that stay
        with peak_memory("cpu") as peak:
            gradient(codec, z)
        taken.append(peak.increment)
    if not peak.exact:
        pytest.skip("the system keeps one mark of memory since the process began")
    assert taken[1] < 0.7 * taken[0]


def test_a_prior_of_pictures_has_no_decoder_to_spare() -> None:
    with pytest.raises(PriorError, match="latent priors"):
        load("photo", checkpoint=True)
