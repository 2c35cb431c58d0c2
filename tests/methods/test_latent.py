"""Latent methods equal their transcriptions behind a nonlinear decoder, and pixel methods behind a linear one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from pellucid import methods
from pellucid.codec import AffineCodec
from pellucid.consistency.backprojection import BackProjection
from pellucid.consistency.langevin import Langevin
from pellucid.consistency.latent import LatentGuidance, Projected
from pellucid.consistency.pictures import on_pictures, squared_norm
from pellucid.errors import CompatibilityError, NeedsCapability
from pellucid.loop import reconstruct
from pellucid.method import Method
from pellucid.noise import SeededNoise
from pellucid.operators import BlockAverage, GaussianBlur, Identity, Mask, ParallelBeam
from pellucid.operators.base import LinearOperator, Operator, Spectral
from pellucid.operators.combined import LinearScaled
from pellucid.problem import Problem
from pellucid.verify.oracle import posterior
from pellucid.verify.report import psnr
from tests.latent import LATENT, ToyAutoencoder, disguised, latent_oracle, measured, pixel_twin, toy_latent_prior
from tests.reference import ldps as reference
from tests.reference.latent_ddnm import latent_ddnm
from tests.reference.red_diff import red_diff
from tests.reference.symbols import Svd
from tests.toys import ABAR, SHAPE, PhaseAmplitude, at_timestep, pictures, toy_prior

N = 10
TRAILING = [round(1000 * k / N) - 1 for k in range(1, N + 1)]
NEAR_TIMES = [round(300 * k / N) - 1 for k in range(1, N + 1)]
SEEDS = (0, 7)
OPERATORS: dict[str, Callable[[], LinearOperator]] = {
    "mask": lambda: Mask.random(SHAPE, 0.5),
    "blur": lambda: GaussianBlur(SHAPE, 1.0),
    "average": lambda: BlockAverage(SHAPE, 4),
}


@dataclass(frozen=True)
class Latent:
    """Two pictures behind the toy first stage; y, A, D and E in the network's range for the transcriptions."""

    operator: LinearOperator
    noise: float = 0.05

    @property
    def problem(self) -> Problem:
        x = pictures(2)
        clean = self.operator(x)
        return Problem(clean + self.noise * SeededNoise([3, 4]).normal(clean, 0, "measured"), self.operator, self.noise)

    @property
    def y(self) -> Tensor:
        return 2 * self.problem.y - self.operator(torch.ones(2, *SHAPE, dtype=torch.float64))

    def eps(self, z: Tensor, i: int) -> Tensor:
        return at_timestep(toy_latent_prior().network)(z, i)

    @staticmethod
    def draw(step: int, purpose: str, like: Tensor) -> Tensor:
        return SeededNoise(SEEDS).normal(like, step, purpose)

    D = staticmethod(ToyAutoencoder().decode)
    E = staticmethod(ToyAutoencoder().encode)

    @property
    def z_T(self) -> Tensor:
        z = self.draw(0, "start", torch.zeros(2, *LATENT, dtype=torch.float64))
        return (1 - float(ABAR[TRAILING[-1]])) ** 0.5 * z

    @property
    def svd(self) -> Svd:
        A = self.operator
        assert isinstance(A, Spectral)
        like = torch.zeros(2, *SHAPE, dtype=torch.float64)
        s = torch.where(A.kept(like), A.singular_values(like), 0)
        return Svd(s, A.to_spectrum, A.from_spectrum, A.measured_to_spectrum, A.spectrum_to_measured)

    def run(self, method: Method) -> Tensor:
        """The result in the network's range."""
        return 2 * reconstruct(self.problem, toy_latent_prior(), method, seeds=SEEDS).image - 1


def _chain(q: Latent) -> tuple[Callable[[Tensor, int], Tensor], Tensor, list[int], Tensor, Tensor]:
    return q.eps, ABAR, TRAILING, q.z_T, q.y


def _glued(q: Latent) -> Callable[[Tensor], Tensor]:
    A, At = q.operator, q.operator.adjoint
    return lambda z0: q.E(At(q.y) + q.D(z0) - At(A(q.D(z0))))


def _near(q: Latent) -> Tensor:
    a = float(ABAR[NEAR_TIMES[-1]])
    z = q.E(q.operator.pinv(q.y))
    return a**0.5 * z + (1 - a) ** 0.5 * q.draw(0, "start", z)


CASES: dict[str, tuple[Method, Callable[[Latent], Tensor]]] = {
    "ldps-released": (
        methods.ldps(nfe=N, rule="released", scale=0.6),
        lambda q: reference.ldps(*_chain(q), q.operator, q.D, q.draw, eta=0.6),
    ),
    "ldps-paper": (
        methods.ldps(nfe=N, rule="paper", scale=0.6),
        lambda q: reference.ldps(*_chain(q), q.operator, q.D, q.draw, eta=0.6, squared=True),
    ),
    "gml-dps-released": (
        methods.gml_dps(nfe=N, rule="released", scale=0.6, weight=0.3),
        lambda q: reference.ldps(*_chain(q), q.operator, q.D, q.draw, eta=0.6, w=0.3, glue=lambda z: q.E(q.D(z))),
    ),
    "psld-flash": (
        methods.psld(nfe=N, rule="released", scale=0.6, weight=0.3),
        lambda q: reference.ldps(*_chain(q), q.operator, q.D, q.draw, eta=0.6, w=0.3, glue=_glued(q)),
    ),
    "psld": (
        methods.psld(nfe=N, rule="released", scale=0.5, weight=0.2, eta=0.0, noiser=0.02),
        lambda q: reference.psld(
            *_chain(q), q.operator, q.operator.adjoint, q.D, q.E, q.draw, omega=0.5, gamma=0.2, noiser=0.04
        ),
    ),
}

for residual_code in (True, False):
    CASES[f"latent-ddnm-{residual_code}"] = (
        methods.latent_ddnm(nfe=N, residual_code=residual_code),
        lambda q, code=residual_code: latent_ddnm(
            *_chain(q), q.svd, 2 * q.noise, q.D, q.E, q.draw, louder=2, residual_code=code
        ),
    )
CASES["red-diff"] = (
    methods.red_diff(nfe=N, rule="paper", weight=0.25, decay=False, adam_eps=None, memory=0.999),
    lambda q: red_diff(
        q.eps, ABAR, TRAILING, 0 * q.z_T, q.y, lambda z: q.operator(q.D(z)), 2 * q.noise, q.draw, lam=0.25
    ),
)
# The transcription starts from E(A^+ y), noised.
CASES["ccdf-l"] = (
    methods.ccdf_l(nfe=N, fraction=0.3, rule="released", scale=0.6, initial="pinv"),
    lambda q: reference.ldps(q.eps, ABAR, NEAR_TIMES, _near(q), q.y, q.operator, q.D, q.draw, eta=0.6),
)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("name", CASES)
def test_latent_method_equals_its_transcription(name: str, operator: str) -> None:
    method, transcription = CASES[name]
    q = Latent(OPERATORS[operator]())
    wanted = q.D(transcription(q))
    assert torch.isfinite(wanted).all()
    assert float((q.run(method) - wanted).abs().max()) < 1e-10


def test_the_identity_in_place_of_a_blur_s_adjoint() -> None:
    q = Latent(OPERATORS["blur"]())
    wanted = reference.psld(*_chain(q), q.operator, lambda r: r, q.D, q.E, q.draw, omega=0.5, gamma=0.2)
    released = {"rule": "released", "scale": 0.5, "weight": 0.2, "eta": 0.0}
    found = q.run(methods.get("psld").build(N, adjoint="identity", **released))
    true = q.run(methods.get("psld").build(N, adjoint="true", **released))
    assert float((found - q.D(wanted)).abs().max()) < 1e-10
    assert float((found - true).abs().max()) > 1e-3


METHODS = ("ldps", "gml-dps", "psld", "ccdf-l", "latent-ddnm", "daps", "red-diff")

DISGUISED: dict[str, tuple[Method, Method]] = {
    "ldps": (methods.ldps(nfe=12), methods.dps(nfe=12)),
    "gml-dps": (methods.gml_dps(nfe=12, weight=1.0), methods.dps(nfe=12)),
}
# Holes and blocks that the decoder's blocks do not straddle: E A^+ is then the pseudo-inverse of A D.
BLOCKS = Mask(
    SHAPE,
    (torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0)) > 0.5)
    .repeat_interleave(2, 1)
    .repeat_interleave(2, 2),
)


def test_projecting_decoded_blocks_is_projecting_latents() -> None:
    problem, _ = measured(BLOCKS, 0.0)
    found = reconstruct(problem, latent_oracle(), methods.latent_ddnm(nfe=12), seeds=SEEDS).image
    pixel = replace(methods.latent_ddnm(nfe=12), consistency=BackProjection())
    wanted = reconstruct(disguised(problem), pixel_twin(), pixel, seeds=SEEDS).image
    assert float((found - wanted.repeat_interleave(2, 2).repeat_interleave(2, 3)).abs().max()) < 1e-10
    assert float(problem.operator(found - problem.y).abs().max()) < 1e-10


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("name", DISGUISED)
def test_behind_a_linear_autoencoder_it_is_the_pixel_method(name: str, operator: str) -> None:
    latent, pixel = DISGUISED[name]
    problem, _ = measured(OPERATORS[operator](), torch.tensor([0.03, 0.08]))
    found = reconstruct(problem, latent_oracle(), latent, seeds=SEEDS).image
    wanted = reconstruct(disguised(problem), pixel_twin(), pixel, seeds=SEEDS).image
    assert float((found - wanted.repeat_interleave(2, 2).repeat_interleave(2, 3)).abs().max()) < 1e-10


NEAR: dict[str, Method] = {
    "ldps": methods.ldps(nfe=200),
    "gml-dps": methods.gml_dps(nfe=200),
    "psld": methods.psld(nfe=200),
    "ccdf-l": methods.ccdf_l(nfe=100),
    "latent-ddnm": methods.latent_ddnm(),
    "daps": methods.daps(nfe=50),
    "red-diff": methods.red_diff(nfe=500),
}


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("name", NEAR)
def test_samples_are_near_the_exact_posterior(name: str, operator: str) -> None:
    """One sample, and the mean of 16, within 1 dB of as many exact ones, averaged over 4 truths."""
    behind = []
    for seed in range(4):
        problem, truth = measured(OPERATORS[operator](), 0.05, batch=1, seed=seed)
        exact = posterior(pixel_twin(), disguised(problem))
        samples = latent_oracle().codec.decode(exact.sample(16, torch.Generator().manual_seed(seed)))
        many = replace(problem, y=problem.y.expand(16, *problem.y.shape[1:]).contiguous())
        found = reconstruct(many, latent_oracle(), NEAR[name]).image
        behind.append([_psnrs(samples, truth)[k] - _psnrs(found, truth)[k] for k in (0, 1)])
    assert torch.tensor(behind).mean(0).max() < 1.0


def _psnrs(x: Tensor, truth: Tensor) -> tuple[float, float]:
    return float(psnr(x, truth).mean()), float(psnr(x.mean(0, keepdim=True), truth))


def test_an_operator_that_is_not_linear_on_pictures_is_refused() -> None:
    phase = PhaseAmplitude(SHAPE)
    problem = Problem(phase(pictures(1)), phase)
    for method in (methods.psld(nfe=2), methods.ccdf_l(nfe=2), methods.latent_ddnm(nfe=2)):
        with pytest.raises(NeedsCapability, match="linear operator, and PhaseAmplitude"):
            reconstruct(problem, toy_latent_prior(), method)
    assert torch.isfinite(reconstruct(problem, toy_latent_prior(), methods.ldps(nfe=2)).image).all()


def test_words_that_are_none_are_named() -> None:
    for word in ("zz", "resample"):  # ReSample's code takes its step elsewhere
        with pytest.raises(CompatibilityError, match="rule"):
            methods.ldps(rule=word)  # type: ignore[arg-type]
    with pytest.raises(CompatibilityError, match="adjoint"):
        methods.psld(adjoint="zz")  # type: ignore[arg-type]
    average = BlockAverage(SHAPE, 4)
    problem = Problem(average(pictures(1)), average, 0.1)
    with pytest.raises(CompatibilityError, match="picture's shape"):  # before any network call
        methods.psld(nfe=2, adjoint="identity").check(problem, toy_latent_prior())
    methods.psld(nfe=2).check(problem, toy_latent_prior())


def test_a_large_operator_does_not_throw_the_projection_off() -> None:
    """|A| = 30: without the division by |A|^2 the second term would be 900 times as large."""
    large = LinearScaled(Identity(SHAPE), 30.0)
    x = pictures(1)
    guided = replace(methods.psld(nfe=20), consistency=LatentGuidance(glue=Projected(), weight=0.1))
    image = reconstruct(Problem(large(x), large, 0.03), latent_oracle(), guided).image
    assert float((image - latent_oracle().codec.decode(latent_oracle().codec.encode(x))).square().mean().sqrt()) < 0.1


def test_decodings_are_counted() -> None:
    problem, _ = measured(OPERATORS["mask"](), 0.05)
    result = reconstruct(problem, latent_oracle(), methods.gml_dps(nfe=5))
    assert result.decodes.tolist() == [6, 6] and result.encodes.tolist() == [5, 5]
    assert result.nfe.tolist() == [5, 5] and result.vjp.tolist() == [5, 5]


@pytest.mark.parametrize(
    "method",
    [
        methods.ldps(nfe=6, through_network=False),
        methods.gml_dps(nfe=6),
        methods.daps(nfe=6, langevin_steps=5),
        methods.daps(nfe=6, ode_steps=2, langevin_steps=5),
    ],
)
def test_gradients_through_the_decoder_are_forecast(method: Method) -> None:
    problem, _ = measured(OPERATORS["mask"](), 0.05, batch=1)
    assert reconstruct(problem, latent_oracle(), method).decode_vjps.tolist() == [method.consistency.gradients(6)]


@pytest.mark.parametrize("noise", [0.0, 5e-4, 0.01, 0.05])
def test_noise_in_the_weak_directions_of_a_sinogram_is_not_blown_up(noise: float) -> None:
    """A^+ of the noise is 2.3 away from the truth at 0.01, and 11 at 0.05."""
    problem, truth = measured(ParallelBeam((3, 16, 16), 12), noise)
    image = reconstruct(problem, latent_oracle(), methods.latent_ddnm(nfe=20)).image
    assert float((image - truth).square().mean().sqrt()) < (0.1 if noise else 0.01)


class Counted(LinearScaled):
    """2 x, counting how often its norm is asked for."""

    asked = 0

    def norm(self, like: Tensor) -> Tensor:
        type(self).asked += 1
        return super().norm(like)


def test_the_norm_is_computed_once_for_an_image_whichever_batch_it_is_in() -> None:
    operator = Counted(Identity(SHAPE), 2.0)
    problem = Problem(operator(pictures(3)), operator, 0.1)
    whole = AffineCodec().observe(problem)
    part = whole.select(torch.tensor([0, 2]))
    Counted.asked = 0
    for observation in (part, whole.select(torch.tensor([2])), part, on_pictures(part)):
        torch.testing.assert_close(squared_norm(observation, operator), torch.full((len(observation.y),), 4.0).double())
    assert Counted.asked == 1
    assert len(squared_norm(whole, operator)) == 3 and Counted.asked == 2  # image 1 is new
    squared_norm(whole, operator)
    squared_norm(whole.select(torch.tensor([1])), operator)
    assert Counted.asked == 2


class Blind(Operator):
    """The operator, not known to be linear: the way that operators behind an autoencoder are seen."""

    def __init__(self, operator: Operator) -> None:
        super().__init__(operator.image_shape, operator.measurement_shape)
        self.operator = operator

    def _forward(self, x: Tensor) -> Tensor:
        return self.operator(x)


def test_langevin_dynamics_draw_from_their_potential() -> None:
    """Mean and variance of |y - x|^2 / (2 s^2) + |x - m|^2 / (2 r^2), both by known and by estimated curvature."""
    shape, count = (1, 4, 4), 400
    m = 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).expand(count, *shape)
    y = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).expand(count, *shape)
    s2, r2 = (torch.full((count,), v, dtype=torch.float64) for v in (0.04, 0.25))
    mask = Mask(shape, torch.arange(16).reshape(1, 4, 4) % 2 == 0)
    known = mask(torch.ones(1, *shape, dtype=torch.float64))
    precision = known / 0.04 + 1 / 0.25
    mean = (known * y[:1] / 0.04 + m[:1] / 0.25) / precision
    noise = SeededNoise(range(count))
    for operator in (mask, Blind(mask)):
        observation = AffineCodec(1.0, 0.0).observe(Problem(mask(y), operator, 0.2))
        sampler = Langevin(steps=300, step_size=0.1)
        x = sampler.sample(m, r2, s2, observation, lambda x, j: noise.normal(x, j, "langevin"))
        error = (x.mean(0) - mean[0]) * (count * precision[0]).sqrt()  # in standard errors
        assert 0.5 < float(error.square().mean().sqrt()) < 1.6
        assert float((x.var(0) * precision[0]).mean()) == pytest.approx(1 / (1 - 0.05), abs=0.06)


@pytest.mark.parametrize("operator", [LinearScaled(Identity(SHAPE), 1000.0), PhaseAmplitude(SHAPE)])
def test_langevin_dynamics_do_not_diverge(operator: Operator) -> None:
    """Steep operators, known and unknown curvature; no noise, and steps as large as are allowed."""
    problem = Problem(operator(pictures(2)), operator, 0.0)
    method = methods.daps(nfe=10, langevin_steps=20, step_size=1.9)
    for blind in (operator, Blind(operator)):
        image = reconstruct(replace(problem, operator=blind), toy_latent_prior(), method).image
        assert float(image.abs().max()) < 2
        pixels = reconstruct(replace(problem, operator=blind), toy_prior(), method).image
        assert float(pixels.abs().max()) < 20


def test_the_ode_s_calls_are_counted() -> None:
    problem, _ = measured(OPERATORS["mask"](), 0.05)
    result = reconstruct(problem, latent_oracle(), methods.daps(nfe=12, ode_steps=3, langevin_steps=2))
    assert result.nfe.tolist() == [12, 12] and not result.vjp.any()
    # Four levels: U at the start, three for the curvature, one a step; and the answer.
    assert result.decodes.tolist() == [4 * (1 + 3 + 2) + 1] * 2
    assert reconstruct(problem, latent_oracle(), methods.red_diff(nfe=7)).nfe.tolist() == [7, 7]


@pytest.mark.parametrize("name", METHODS)
def test_behind_an_autoencoder_an_image_alone_equals_itself_in_a_batch(name: str) -> None:
    small = {"daps": {"langevin_steps": 3}}.get(name, {})
    method = methods.get(name).build(5, **small)
    problem, _ = measured(GaussianBlur(SHAPE, [0.7, 1.0, 1.3]), torch.tensor([0.01, 0.05, 0.1]), batch=3)
    together = reconstruct(problem, toy_latent_prior(), method, seeds=[4, 5, 6]).image
    for image in (0, 2):
        apart = reconstruct(problem.select(torch.tensor([image])), toy_latent_prior(), method, seeds=[4 + image]).image
        assert float((apart[0] - together[image]).abs().max()) < 1e-10


@pytest.mark.parametrize("name", METHODS)
def test_without_noise_it_works_as_well(name: str) -> None:
    problem, truth = measured(OPERATORS["mask"](), 0.0)
    image = reconstruct(problem, latent_oracle(), methods.get(name).build(100)).image
    assert float(psnr(image, truth).mean()) > 17
