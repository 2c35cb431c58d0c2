"""The severity encoder: exact on the recorded one; it begins as an autoencoder's encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pellucid.checkpoints.convert import import_file
from pellucid.checkpoints.severity import configuration, recognise, renamed
from pellucid.codec.autoencoder import AutoencoderCodec
from pellucid.errors import ConfigError, PriorError
from pellucid.loop import reconstruct
from pellucid.methods import flash
from pellucid.operators.diagonal import Identity
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.problem import Problem
from pellucid.process import DiscreteVP
from pellucid.severity import load_severity
from pellucid.start.severity import Severity
from tests.nn.golden import EXACT, published, recorded, relative
from tests.nn.importing import fits, through

diffusers = pytest.importorskip("diffusers")

from pellucid.nn.severity import SeverityEncoder  # noqa: E402

SMALL: dict[str, Any] = {"widths": (8, 16), "blocks": 1, "groups": 4}


def test_it_computes_what_the_published_code_computes() -> None:
    weights, io, _ = recorded("flash_severity_encoder_reduced")
    network, plan = through("severity", weights)
    z, variance = network(io["x"])
    assert relative(z, io["z_mean"]) < EXACT and relative(variance, io["var"]) < EXACT
    assert plan.parts[0].config["family"] == "vq" and plan.parts[0].config["widths"] == [32, 32, 64]


def test_it_is_found_in_a_training_file_beside_an_autoencoder() -> None:
    weights, io, _ = recorded("flash_severity_encoder_reduced")
    inside = {f"model.{key}": value for key, value in weights.items()}
    inside |= {f"first_stage.{key}": value for key, value in weights.items() if not key.startswith("std_conv")}
    inside["first_stage.loss.weight"] = torch.zeros(3)
    network, _ = through("severity", inside)
    assert relative(network(io["x"])[1], io["var"]) < EXACT


def test_the_published_autoencoders_weights_fit() -> None:
    shapes = {k: v for k, v in published("ldm_vq_f4_first_stage").items() if k.startswith(("encoder.", "quant_conv."))}
    shapes |= {"std_conv.weight": (3, 3, 1, 1), "std_conv.bias": (3,)}
    assert configuration(shapes) == {
        "family": "vq",
        "channels": 3,
        "latent": 3,
        "z_channels": 3,
        "widths": [128, 256, 512],
        "blocks": 2,
        "groups": 32,
    }
    assert len(fits("severity", shapes)) == len(shapes)
    assert set(fits("severity", shapes)) == {renamed(key) for key in shapes}


@pytest.mark.parametrize("family", ["vq", "kl"])
def test_it_begins_as_an_autoencoders_encoder(family: str) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {
        "block_out_channels": (8, 16),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "norm_num_groups": 4,
        "latent_channels": 4,
    }
    if family == "vq":
        autoencoder: Any = diffusers.VQModel(num_vq_embeddings=8, vq_embed_dim=3, **options)
    else:
        autoencoder = diffusers.AutoencoderKL(**options)
    network = SeverityEncoder.from_autoencoder(autoencoder).eval()
    assert network.config["family"] == family and network.multiple == 2
    y = torch.rand(3, 3, 16, 12) * 2 - 1
    with torch.no_grad():
        z, variance = network(y)
        if family == "vq":
            torch.testing.assert_close(z, autoencoder.encode(y).latents)
            assert network.std_conv is not None
            wanted = network.std_conv(z).square().mean((1, 2, 3))
        else:
            moments = autoencoder.quant_conv(autoencoder.encoder(y))
            torch.testing.assert_close(z, moments[:, :4])
            wanted = moments[:, 4:].square().mean((1, 2, 3))
        torch.testing.assert_close(variance, wanted)
        one, alone = network(y[1:2])
    torch.testing.assert_close(one, z[1:2], rtol=0, atol=1e-5)
    torch.testing.assert_close(alone, variance[1:2])


def test_a_bare_encoder_is_of_the_other_family() -> None:
    shapes = {"quant_conv.weight": (8, 8, 1, 1), "encoder.conv_in.weight": (8, 3, 3, 3)}
    shapes |= {"encoder.mid.block_1.norm1.weight": (16,), "encoder.down.0.block.0.conv2.weight": (8, 8, 3, 3)}
    assert recognise(shapes) and configuration(shapes)["family"] == "kl" and configuration(shapes)["latent"] == 4
    assert not recognise(shapes | {"decoder.conv_in.weight": (16, 4, 3, 3)})


def test_what_it_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="'vq' or 'kl'"):
        SeverityEncoder("ae", **SMALL)  # type: ignore[arg-type]
    odd = diffusers.AutoencoderKL(block_out_channels=(32,), down_block_types=("AttnDownEncoderBlock2D",))
    with pytest.raises(PriorError, match="DownEncoderBlock2D"):
        SeverityEncoder.from_autoencoder(odd)


def test_an_imported_encoder_begins_a_reconstruction(tmp_path: Path) -> None:
    """From the published file to z_hat and s2 of a picture in [0, 1], with a temperature, and to a start by them."""
    weights, io, _ = recorded("flash_severity_encoder_reduced")
    torch.save({"state_dict": weights}, tmp_path / "encoder.ckpt")
    import_file(tmp_path / "encoder.ckpt", tmp_path / "encoder")
    x = io["x"].float()
    codec = AutoencoderCodec(Untrained(), factor=4, latent_channels=3, channels=3)
    prior = DiffusionPrior(lambda z, t: z, DiscreteVP.scaled_linear(), codec=codec)
    problem = Problem((x + 1) / 2, Identity(tuple(x.shape[1:])), 0.05)
    encoder = load_severity(tmp_path / "encoder", temperature=2.0)
    z, s2 = encoder(prior.codec.observe(problem), prior)
    assert relative(z, io["z_mean"]) < EXACT and relative(s2 / 2, io["var"]) < EXACT
    method = flash("none", encoder, 1000)
    result = reconstruct(problem, prior, method)
    assert result.started_at is not None
    assert torch.equal(result.started_at, Severity(encoder).time(prior.process, s2))


class Untrained(nn.Module):
    """An autoencoder in name."""

    def encode(self, x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(x, 4)

    def decode(self, z: Tensor) -> Tensor:
        return nn.functional.interpolate(z, scale_factor=4)
