"""Flash-Diffusion behind an autoencoder: the published sampler, networks in use, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pellucid import methods
from pellucid.codec import AffineCodec
from pellucid.codec.autoencoder import AutoencoderCodec
from pellucid.errors import CompatibilityError, PriorError, UnknownNameError
from pellucid.loop import reconstruct
from pellucid.nn.severity import PixelSeverity, SeverityEncoder
from pellucid.noise import SeededNoise
from pellucid.operators import Bicubic, GaussianBlur, Grey, Identity
from pellucid.operators.base import Operator
from pellucid.operators.each import each
from pellucid.prior.base import Prior
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.problem import Observation, Problem
from pellucid.process import DiscreteVP
from pellucid.severity import AutoSeverity, NetworkSeverity, load_severity
from pellucid.start.severity import Severity
from pellucid.zoo import load_autoencoder
from tests.latent import ToyAutoencoder, toy_latent_prior
from tests.reference import flash as reference
from tests.toys import SHAPE, pictures

S2 = (0.1, 0.02)
LATENT_ABAR = torch.exp(DiscreteVP.scaled_linear().log_abar(torch.arange(1, 1001, dtype=torch.float64)))


class Encoded:
    """z_hat = E(y), of severities that are told it."""

    def __call__(self, observation: Observation, prior: Prior) -> tuple[Tensor, Tensor]:
        assert observation.problem is not None
        return prior.codec.encode(observation.problem.y), torch.tensor(S2[: len(observation.y)], dtype=torch.float64)


def latent_eps(x: Tensor, i: Tensor) -> Tensor:
    """The recorded chains' network, on latent diffusion's betas."""
    a = LATENT_ABAR[i.long()].to(x).reshape(-1, 1, 1, 1)
    return (1 - a).sqrt() * x + a.sqrt() * (0.1 * torch.roll(x, 1, dims=3) + 0.1 * torch.sin(3 * x))


def test_as_released_is_the_published_sampler() -> None:
    """METHODS 2.3: correction noise, the first call one index below the matched one, eta |r| through U-Net and D."""
    module = ToyAutoencoder()
    codec = AutoencoderCodec(module, factor=2, latent_channels=3, channels=3)
    prior = DiffusionPrior(latent_eps, DiscreteVP.scaled_linear(), codec=codec)
    operator, x = GaussianBlur(SHAPE, 1.0), pictures(2)
    y = operator(x) + 0.05 * SeededNoise([3, 4]).normal(x, 0, "measured")
    method = methods.flash("ldps:scale=0.7", Encoded(), as_released=True)
    found = reconstruct(Problem(y, operator, 0.05), prior, method, seeds=[0, 7])
    for k in range(2):

        def draw(step: int, purpose: str, like: Tensor) -> Tensor:
            return SeededNoise([(0, 7)[k]]).normal(like, step, purpose)  # noqa: B023

        z = reference.flash(
            lambda x, i: latent_eps(x, torch.full((len(x),), i)),
            LATENT_ABAR,
            module.encode(2 * y[k : k + 1] - 1),
            S2[k],
            2 * y[k : k + 1] - 1,
            lambda picture: 2 * operator((picture + 1) / 2) - 1,
            module.decode,
            draw,
            eta=0.7,
            c=1.2,
        )
        wanted = (module.decode(z) + 1) / 2
        assert float((found.image[k] - wanted[0]).abs().max()) < 1e-10
        assert int(found.nfe[k]) == reference.matched(LATENT_ABAR, S2[k])


def tiny(family: str = "vq", head: str = "latent") -> NetworkSeverity:
    """An untrained encoder of the toy first stage's shape."""
    torch.manual_seed(0)
    network = SeverityEncoder(family, widths=(8, 8), blocks=1, groups=4, head=head)  # type: ignore[arg-type]
    return NetworkSeverity(network.double().eval().requires_grad_(False))


@pytest.mark.parametrize("head", ["latent", "features"])
@pytest.mark.parametrize("family", ["vq", "kl"])
def test_both_families_of_autoencoders_and_both_heads(family: str, head: str) -> None:
    encoder, prior = tiny(family, head), toy_latent_prior()
    problem = Problem(pictures(2), Identity(SHAPE), torch.tensor([0.05, 0.1]))
    observation = prior.codec.observe(problem)
    z, s2 = encoder(observation, prior)
    assert z.shape == (2, 3, 8, 8) and s2.shape == (2,)
    mapped, variance = encoder.field(observation, prior)
    assert torch.equal(z, mapped) and torch.allclose(variance.flatten(1).mean(1), s2)
    assert torch.allclose(replace(encoder, temperature=3.0)(observation, prior)[1], 3 * s2)
    together = reconstruct(problem, prior, methods.flash("ldps", encoder, 50), seeds=[1, 2])
    for k in range(2):
        alone = reconstruct(problem.select(torch.tensor([k])), prior, methods.flash("ldps", encoder, 50), seeds=[k + 1])
        assert float((alone.image[0] - together.image[k]).abs().max()) < 1e-10
        assert alone.nfe[0] == together.nfe[k]


def test_units_of_the_codec() -> None:
    """A codec of factor s and shift m: z_hat and s2 are those of s (z - m), in the start and in the loss."""
    encoder = tiny()
    plain, scaled = (
        DiffusionPrior(
            latent_eps,
            codec=AutoencoderCodec(
                ToyAutoencoder(), factor=2, latent_channels=3, channels=3, scaling_factor=s, shift=m
            ),
        )
        for s, m in ((1.0, 0.0), (0.5, 0.3))
    )
    problem = Problem(pictures(2), Identity(SHAPE))
    (z, s2), (z_scaled, s2_scaled) = (encoder(p.codec.observe(problem), p) for p in (plain, scaled))
    assert torch.allclose(z_scaled, 0.5 * (z - 0.3))
    assert torch.allclose(s2_scaled, 0.25 * s2)


@pytest.mark.parametrize("operator", [Identity((1, 14, 19)), Bicubic((3, 16, 16), 4), Grey((3, 16, 16))])
def test_pixels_of_any_size_and_colour(operator: Operator) -> None:
    """What the network is shown has the picture's size: enlarged, or A^+ y; grey pictures stay grey."""
    torch.manual_seed(0)
    network = PixelSeverity(3, widths=[8, 8], blocks=[1, 1], heads=2, embedding=8).double().eval()
    encoder = NetworkSeverity(network.requires_grad_(False))
    prior = DiffusionPrior(lambda x, i: latent_eps(x, i), codec=AffineCodec())
    truth = pictures(2, tuple(operator.image_shape))
    problem = Problem(operator(truth), operator, 0.05)
    z, s2 = encoder(prior.codec.observe(problem), prior)
    assert z.shape == truth.shape and s2.shape == (2,) and (s2 > 0).all()
    result = reconstruct(problem, prior, methods.flash("dps", encoder, 100), seeds=0)
    assert result.image.shape == truth.shape and torch.isfinite(result.image).all()


def test_encoders_that_do_not_fit_are_refused_before_any_work() -> None:
    latent, pixels = toy_latent_prior(), DiffusionPrior(latent_eps, codec=AffineCodec())
    problem = Problem(pictures(1), Identity(SHAPE))

    def used(encoder: NetworkSeverity | AutoSeverity, prior: Prior, match: str) -> None:
        with pytest.raises(CompatibilityError, match=match):
            reconstruct(problem, prior, methods.flash("ldps", encoder, 10))

    used(tiny(), pixels, "estimates latents, and the prior is one of pixels")
    used(NetworkSeverity(PixelSeverity(3, widths=[8], blocks=[1], heads=0)), latent, "estimates pixels")
    used(NetworkSeverity(SeverityEncoder(widths=(8, 8, 8), blocks=1, groups=4)), latent, "1/4 of the side")
    known = AutoencoderCodec(ToyAutoencoder(), factor=2, latent_channels=3, channels=3, origin="aa")
    used(replace(tiny(), codec_sha256="bb"), DiffusionPrior(latent_eps, codec=known), "another autoencoder")
    used(AutoSeverity(), latent, "no severity encoder for Identity and this latent prior")
    with pytest.raises(UnknownNameError):
        methods.flash(encoder="nowhere")
    with pytest.raises(PriorError, match="not 'severity'"):
        methods.flash(encoder="photo")


def test_the_shipped_encoder_is_found_by_prior_and_operator() -> None:
    """`auto` on Gaussian blur and photo-vq's latents is photo-severity-blur."""
    prior = DiffusionPrior(latent_eps, codec=load_autoencoder("photo-vq"), multiple=1)
    problem = Problem(torch.rand(1, 3, 32, 32), GaussianBlur((3, 32, 32), 1.3), 0.05)
    assert AutoSeverity().chosen(problem, prior).name == "photo-severity-blur"
    loaded = load_severity("photo-severity-blur")
    assert 0.5 < loaded.temperature < 2
    z, s2 = loaded(prior.codec.observe(problem), prior)
    assert z.shape == (1, 3, 8, 8) and 0 < float(s2) < 5
    assert load_severity("photo-severity-blur", temperature=7.0).temperature == 7


def test_a_folder_that_is_no_encoder(tmp_path: Path) -> None:
    with pytest.raises(PriorError, match=r"no card\.json"):
        load_severity(tmp_path)


def test_blurs_of_their_own_are_one_kind_of_operator() -> None:
    """A batch whose images have operators of their own gets the encoder of their family."""
    prior = DiffusionPrior(latent_eps, codec=load_autoencoder("photo-vq"))
    blurs = each([GaussianBlur((3, 32, 32), 1.0), GaussianBlur((3, 32, 32), 2.0)])
    problem = Problem(torch.rand(2, 3, 32, 32), blurs, 0.05)
    assert AutoSeverity().chosen(problem, prior).name == "photo-severity-blur"
    mixed = each([GaussianBlur((3, 32, 32), 1.0), Bicubic((3, 32, 32), 1)])
    with pytest.raises(CompatibilityError, match="Bicubic and GaussianBlur"):
        AutoSeverity().check(Problem(torch.rand(2, 3, 32, 32), mixed, 0.05), prior)


def test_noise_that_the_encoder_does_not_know_is_said() -> None:
    prior = DiffusionPrior(latent_eps, codec=load_autoencoder("photo-vq"))
    encoder = load_severity("photo-severity-blur")
    blur, y = GaussianBlur((3, 32, 32), 1.0), torch.rand(1, 3, 32, 32)
    encoder.check(Problem(y, blur, 0.05), prior)
    for level in (0.01, 0.3):
        with pytest.warns(UserWarning, match=f"trained for noise of 0.05 to 0.05, and the measurement's is {level}"):
            encoder.check(Problem(y, blur, level), prior)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_temperatures_that_are_none(temperature: float) -> None:
    with pytest.raises(CompatibilityError, match="temperature must be above 0"):
        methods.flash(encoder="photo-severity-blur", temperature=temperature)


def test_a_shortened_way_gets_no_more_noise_than_belongs_there() -> None:
    """With share below 1 the paper's correction is that of the time it begins at."""
    prior, s2 = toy_latent_prior(), torch.tensor([0.5], dtype=torch.float64)
    start = Severity(Encoded(), "paper", c=1.0, share=0.1)
    t = start.time(prior.process, s2)
    noise = SeededNoise([0])
    z = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    added = start.corrected(z, s2, t, prior, noise) / noise.normal(z, 0, "start")
    assert torch.allclose(added, prior.process.ratio(t).expand_as(added))
