"""Every method that takes a latent prior takes it behind any autoencoder: VQ, KL, scaled, shifted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from pellucid import methods
from pellucid.codec.autoencoder import AutoencoderCodec
from pellucid.loop import reconstruct
from pellucid.method import Method
from pellucid.noise import SeededNoise
from pellucid.operators.base import Operator
from pellucid.operators.blur import GaussianBlur
from pellucid.operators.mask import Mask
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.problem import Problem
from pellucid.process import DiscreteVP
from tests.toys import SHAPE, PhaseAmplitude, pictures, toy_eps

pytest.importorskip("diffusers")

BLOCKS = {"block_out_channels": (8, 8), "norm_num_groups": 2, "layers_per_block": 1}
TYPES = {
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
}


def vq() -> AutoencoderCodec:
    from diffusers import VQModel

    return AutoencoderCodec(
        VQModel(**BLOCKS, **TYPES, num_vq_embeddings=32, vq_embed_dim=3, latent_channels=3).double()
    )


def kl() -> AutoencoderCodec:
    from diffusers import AutoencoderKL

    return AutoencoderCodec(AutoencoderKL(**BLOCKS, **TYPES, latent_channels=4, scaling_factor=0.18215).double())


def shifted_kl() -> AutoencoderCodec:
    from diffusers import AutoencoderKL

    network = AutoencoderKL(**BLOCKS, **TYPES, latent_channels=3, scaling_factor=1.5, shift_factor=0.06)
    return AutoencoderCodec(network.double())


CODECS: dict[str, Callable[[], AutoencoderCodec]] = {"vq": vq, "kl": kl, "shifted kl": shifted_kl}
METHODS: dict[str, Method] = {
    "resample": methods.resample(nfe=12),
    "resample, paper": methods.resample(nfe=12, every=2, solver="adamw", pixel_steps=20, latent_steps=20),
    "resample, released": methods.resample(nfe=40, as_released=True, pixel_steps=5, latent_steps=5),
    "resample, guided": methods.resample(nfe=12, guidance=1.0, lookahead=2),
    "ldps": methods.ldps(nfe=12),
    "gml-dps": methods.gml_dps(nfe=12),
    "psld": methods.psld(nfe=12),
    "ccdf-l": methods.ccdf_l(nfe=12),
    "latent-ddnm": methods.latent_ddnm(nfe=12),
    "daps": methods.daps(nfe=12, langevin_steps=4),
    "red-diff": methods.red_diff(nfe=12),
    "dps": methods.dps(nfe=12),
}
INVERSE = ("resample, paper", "latent-ddnm")  # they encode pictures: E must undo D, which random weights do not


def prior(codec: str) -> DiffusionPrior:
    torch.manual_seed(0)
    return DiffusionPrior(toy_eps, DiscreteVP.scaled_linear(), codec=CODECS[codec]())


def problem(operator: Operator) -> Problem:
    clean = operator(pictures(2))
    return Problem(clean + 0.02 * SeededNoise([1, 2]).normal(clean, 0, "measurement"), operator, 0.02)


def misfit(image: torch.Tensor, given: Problem) -> torch.Tensor:
    return (given.y - given.operator(image)).square().flatten(1).mean(1)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", METHODS)
def test_the_measurement_is_heard_and_images_are_alone(name: str, codec: str) -> None:
    given, source = problem(GaussianBlur(SHAPE, 1.0)), prior(codec)
    together = reconstruct(given, source, METHODS[name], seeds=[0, 5]).image
    ignored = reconstruct(given, source, methods.unconditional(nfe=12), seeds=[0, 5]).image
    assert together.shape == (2, *SHAPE) and torch.isfinite(together).all()
    assert name in INVERSE or (misfit(together, given) < misfit(ignored, given)).all()
    alone = reconstruct(given.select(torch.tensor([1])), source, METHODS[name], seeds=[5]).image
    assert float((alone[0] - together[1]).abs().max()) < 1e-8


@pytest.mark.parametrize("name", ["resample", "resample, released", "gml-dps", "daps", "red-diff"])
def test_nonlinear_operators_too(name: str) -> None:
    given = problem(PhaseAmplitude(SHAPE))
    assert torch.isfinite(reconstruct(given, prior("kl"), METHODS[name], seeds=0).image).all()


@pytest.mark.parametrize("name", ["resample", "resample, paper", "psld", "latent-ddnm", "ccdf-l", "daps"])
def test_sides_that_are_no_multiples_and_grey_pictures(name: str) -> None:
    shape = (1, 15, 17)
    operator = Mask.random(shape, 0.5)
    clean = operator(pictures(1, shape))
    image = reconstruct(Problem(clean, operator, 0.05), prior("vq"), METHODS[name], seeds=0).image
    assert image.shape == (1, *shape) and torch.isfinite(image).all()
