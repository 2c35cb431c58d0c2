"""What ReSample's paper proves, and that hard consistency finds the closed form where there is one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pellucid import methods
from pellucid.consistency.hard import LatentOptimisation, PixelOptimisation, PixelProjection
from pellucid.consistency.resampling import Resampling, resample
from pellucid.loop import reconstruct
from pellucid.noise import Noise, SeededNoise
from pellucid.operators.base import LinearOperator
from pellucid.operators.blur import GaussianBlur
from pellucid.operators.mask import Mask
from pellucid.operators.resize import Bicubic
from pellucid.optimise.adamw import AdamW
from pellucid.optimise.lbfgs import LBFGS
from pellucid.optimise.misfit import LatentMisfit, PixelMisfit
from pellucid.optimise.projection import project, weight_at
from pellucid.prior.base import State
from pellucid.prior.gaussian import GaussianPrior, MixturePrior, Pixels
from pellucid.prior.lookahead import LookAhead
from pellucid.problem import Problem
from pellucid.process import DiscreteVP
from pellucid.typing import norm
from pellucid.verify.oracle import posterior
from tests.latent import LATENT, Repeat, codec, disguised, latent_oracle, measured, pixel_twin
from tests.toys import SHAPE, SPECTRAL, PhaseAmplitude, pictures

PROCESS = DiscreteVP.scaled_linear()
STEPS = [(601.0, 581.0), (201.0, 181.0), (41.0, 21.0)]
FORMS = [Resampling(), Resampling(form="released"), Resampling(gamma=1.0), Resampling(form="encoding")]


def at(*times: float) -> list[Tensor]:
    return [torch.tensor([t], dtype=torch.float64) for t in times]


def draw(name: str) -> Tensor:
    return SeededNoise([5]).normal(torch.zeros(1, 3, 4, 4, dtype=torch.float64), 0, name)


# ---- equations (12) and (13), Propositions 1 and 2 ------------------------------------------------------------------


@pytest.mark.parametrize(("t", "s"), STEPS)
def test_proposition_2_resampling_is_the_product_of_two_gaussians(t: float, s: float) -> None:
    """p(z_s | z'_s, z0(y)) ~ N(z_s; z'_s, v) N(z_s; alpha z0(y), sigma^2), by completing the square."""
    rule, (t_, s_) = Resampling(), at(t, s)
    z0, current, n = draw("z0"), draw("current"), draw("n")
    v, a, var = rule.variance(PROCESS, t_, s_), PROCESS.alpha(s_), PROCESS.sigma(s_) ** 2
    precision = 1 / v + 1 / var
    mean = (current / v + a * z0 / var) / precision
    found = rule(PROCESS, t_, s_, z0, current, n)
    assert torch.allclose(found, mean + n / precision.sqrt(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("t", "s"), STEPS)
def test_proposition_1_encoding_is_the_forward_process(t: float, s: float) -> None:
    t_, s_ = at(t, s)
    found = Resampling(form="encoding")(PROCESS, t_, s_, draw("z0"), draw("current"), draw("n"))
    assert torch.equal(found, PROCESS.diffuse(draw("z0"), s_, draw("n")))


@pytest.mark.parametrize("form", ["paper", "released"])
def test_resampling_tends_to_encoding_and_to_nothing(form: str) -> None:
    t_, s_ = at(401.0, 381.0)
    given = draw("z0"), draw("current"), draw("n")
    encoded = Resampling(form="encoding")(PROCESS, t_, s_, *given)
    assert torch.allclose(Resampling(1e12, form)(PROCESS, t_, s_, *given), encoded, atol=1e-5)  # type: ignore[arg-type]
    assert torch.equal(Resampling(0.0, form)(PROCESS, t_, s_, *given), given[1])  # type: ignore[arg-type]


def test_the_two_variances_differ_as_published() -> None:
    """At indices 330, 170 and 10 of 500 the code has 0.884, 0.424, 0.120, the paper 35.0, 0.859, 0.0043."""
    times = [at(2.0 * i + 2, 2.0 * i) for i in (330, 170, 10)]
    for form, wanted in (("released", (0.884, 0.424, 0.120)), ("paper", (35.0, 0.859, 0.0043))):
        found = [float(Resampling(form=form).variance(PROCESS, *pair)) for pair in times]  # type: ignore[arg-type]
        assert found == pytest.approx(wanted, rel=0.02)


def test_the_number_of_steps_does_not_change_what_is_forgotten() -> None:
    fine, coarse = (float(Resampling().weight(PROCESS, *at(401.0, 401.0 - d))) for d in (2, 20))
    per_step = float(Resampling(per=None).weight(PROCESS, *at(401.0, 381.0)))
    assert coarse == pytest.approx(fine, abs=0.02)
    assert per_step > fine + 0.2


# ---- Lemma 1, Theorem 1 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", FORMS)
@pytest.mark.parametrize(("t", "s"), STEPS)
def test_lemma_1_and_theorem_1(rule: Resampling, t: float, s: float) -> None:
    """With z0(y) = z0: the mean is unbiased, the conditional variance w sigma^2, both at most those of encoding.

    z'_s = alpha z0 + sigma n': the two draws are independent, so their coefficients give the moments without sampling.
    """
    t_, s_ = at(t, s)
    z0, zero, one = draw("z0"), torch.zeros_like(draw("n")), torch.ones_like(draw("n"))
    a, sigma = float(PROCESS.alpha(s_)), float(PROCESS.sigma(s_))
    mean = rule(PROCESS, t_, s_, z0, a * z0, zero)
    assert torch.allclose(mean, a * z0, atol=1e-14)  # Theorem 1
    own = float((rule(PROCESS, t_, s_, z0, a * z0, one) - mean).mean())
    inherited = float((rule(PROCESS, t_, s_, z0, a * z0 + sigma * one, zero) - mean).mean())
    w = float(rule.weight(PROCESS, t_, s_))
    assert own**2 == pytest.approx(w * sigma**2, rel=1e-10)
    assert own**2 < sigma**2 or rule.form == "encoding"  # Lemma 1, strictly
    assert own**2 + inherited**2 == pytest.approx(sigma**2 * (w + (1 - w) ** 2), rel=1e-10)
    assert own**2 + inherited**2 <= sigma**2 * (1 + 1e-12)


class Ones(Noise):
    """Image j has ones as its j-th resampling draw, or as its start, and zeros elsewhere."""

    def __init__(self, images: Tensor, draws: list[int]) -> None:
        self.images, self.draws = images, draws

    def normal(self, like: Tensor, step: int, purpose: str) -> Tensor:
        which = -1 if purpose == "start" else step if purpose == "resample" else None
        hit = [self.draws[i] == which for i in self.images.tolist()]
        return torch.tensor(hit, dtype=like.dtype).reshape(-1, 1, 1, 1).expand_as(like).clone()

    def select(self, index: Tensor) -> Ones:
        return Ones(self.images[index], self.draws)


def variance_of(form: str, steps: int = 20) -> float:
    """Variance of the result per unmeasured pixel, exactly: without noise in y the whole sampler is affine."""
    prior = GaussianPrior(torch.full((1, 4, 4), 0.16, dtype=torch.float64), 0.2, Pixels())
    operator = Mask.random((1, 4, 4), 0.4)
    draws = [-1, *range(steps), 10**6]  # the last image has no ones at all
    truth = torch.linspace(0, 1, 16, dtype=torch.float64).reshape(1, 1, 4, 4)
    problem = Problem(operator(truth).expand(len(draws), -1, -1, -1), operator)
    method = methods.resample(nfe=steps, every=2, form=form, finish=False)
    x = reconstruct(problem, prior, method, seeds=Ones(torch.arange(len(draws)), draws)).image
    holes = operator(torch.ones_like(truth))[0] == 0
    return float(((x[:-1] - x[-1:]) ** 2).sum(0)[holes].mean())


def test_resampling_leaves_less_variance_than_encoding_through_the_whole_sampler() -> None:
    paper, released, encoding = (variance_of(form) for form in ("paper", "released", "encoding"))
    assert 0 < released < paper < 0.95 * encoding


# ---- Theorem 2 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t", [50.0, 300.0, 700.0])
def test_theorem_2_covariance_from_the_hessian_of_the_score(t: float) -> None:
    """Cov(z0 | z_t) = (sigma^4 / alpha^2) Hess ln p(z_t) + (sigma^2 / alpha^2) I, on a mixture in closed form."""
    shape = (1, 1, 3)
    spectra = torch.tensor([[0.3, 0.1, 0.5], [0.05, 0.4, 0.2]], dtype=torch.float64).reshape(2, *shape)
    means = torch.tensor([[0.5, -0.2, 0.1], [-0.6, 0.3, 0.0]], dtype=torch.float64).reshape(2, *shape)
    components = [GaussianPrior(s, m, Pixels(), PROCESS) for s, m in zip(spectra, means, strict=True)]
    prior = MixturePrior(components, [0.3, 0.7])
    (time,) = at(t)
    x = torch.tensor([0.2, 0.1, -0.3], dtype=torch.float64)
    a, var = float(PROCESS.alpha(time)), float(PROCESS.sigma(time) ** 2)

    def log_p(z: Tensor) -> Tensor:
        each = torch.stack([part.log_density(z.reshape(1, *shape), time)[0] for part in components])
        return torch.logsumexp(each + prior.log_weights, 0)

    hessian = torch.autograd.functional.hessian(log_p, x)
    r = prior.responsibilities(x.reshape(1, *shape), time)[0]
    inner = torch.stack([part._denoise(x.reshape(1, *shape), time)[0].flatten() for part in components])
    within = sum(w * torch.diag(s * var / (a**2 * s + var)) for w, s in zip(r, spectra.flatten(1), strict=True))
    centre = (r[:, None] * inner).sum(0)
    covariance = within + torch.einsum("k,ki,kj->ij", r, inner - centre, inner - centre)
    theorem = var**2 / a**2 * hessian + var / a**2 * torch.eye(3, dtype=torch.float64)
    assert torch.allclose(theorem, covariance, atol=1e-12)
    jacobian = torch.autograd.functional.jacobian(lambda z: prior._denoise(z.reshape(1, *shape), time)[0].flatten(), x)
    assert torch.allclose(jacobian * var / a, covariance, atol=1e-12)  # the second-order Tweedie formula


# ---- hard consistency in closed form --------------------------------------------------------------------------------


def dense(operator: LinearOperator) -> Tensor:
    n = operator.image_shape[0] * operator.image_shape[1] * operator.image_shape[2]
    unit = torch.eye(n, dtype=torch.float64).reshape(n, *operator.image_shape)
    return operator(unit).flatten(1).T


@pytest.mark.parametrize("name", ["mask", "blur", "bicubic", "average"])
def test_latent_hard_consistency_is_the_nearest_solution(name: str) -> None:
    """Linear autoencoder, no noise: argmin |y - A(D(z))| from z0 is z0 + (A W)^+ (y - A(D(z0)))."""
    problem, _ = measured(SPECTRAL[name](), 0.0)
    prior = latent_oracle()
    z0 = SeededNoise([1, 2]).normal(torch.zeros(2, *LATENT, dtype=torch.float64), 0, "z0")
    refinement = LatentOptimisation(LBFGS(400, history=30, tolerance=0.0), floor=1e-22)
    found = refinement(z0, prior.codec.observe(problem), prior)
    small = disguised(problem)
    assert isinstance(small.operator, LinearOperator)
    matrix = dense(small.operator)
    residual = 2 * (problem.y - problem.operator(prior.codec.decode(z0))).flatten(1)
    wanted = z0 + (residual @ torch.linalg.pinv(matrix, rtol=1e-8).T).reshape(z0.shape)
    explained = problem.operator(prior.codec.decode(found)) - problem.y
    assert float(explained.abs().max()) < 1e-8
    assert float((found - wanted).abs().max()) < 1e-3 * float((wanted - z0).abs().max())


@pytest.mark.parametrize("name", ["mask", "blur", "bicubic", "average", "grey"])
def test_projection_stops_at_the_noise_and_is_nearest(name: str) -> None:
    """|y - A x'|^2 = m sigma^2, and x' - x = A^T (A A^T + w)^{-1} (y - A x): the minimiser of |x' - x|^2 under it."""
    operator, std = SPECTRAL[name](), torch.tensor([0.02, 0.1], dtype=torch.float64)
    clean = operator(pictures(2))
    y = clean + std.reshape(-1, 1, 1, 1) * SeededNoise([1, 2]).normal(clean, 0, "measurement")
    problem, x = Problem(y, operator, std), torch.full((2, *SHAPE), 0.4, dtype=torch.float64)
    moved = project(x, problem)
    left = (y - operator(moved)).square().flatten(1).sum(1)
    allowed = clean[0].numel() * std**2
    matrix = dense(operator)
    least = (y - operator(x)).flatten(1) @ torch.linalg.pinv(matrix, rtol=1e-3).T
    unexplained = ((y - operator(x)).flatten(1) - least @ matrix.T).square().sum(1)
    assert torch.allclose(left, torch.maximum(allowed, unexplained), rtol=0.02)
    for image in range(2):
        change, residual = (moved - x)[image].flatten(), (y - operator(moved))[image].flatten()
        pull = matrix.T @ residual  # stationarity: change = pull / w
        w = float(pull @ pull / (change @ pull))
        assert torch.allclose(change, pull / w, atol=2e-2 * float(change.abs().max()))


def test_projection_of_what_is_near_enough_is_itself() -> None:
    operator = SPECTRAL["blur"]()
    x = pictures(1)
    assert torch.equal(project(x, Problem(operator(x), operator, 0.1)), x)


def test_projection_without_noise_is_the_pseudo_inverse() -> None:
    operator = SPECTRAL["bicubic"]()
    assert isinstance(operator, LinearOperator)
    x, y = torch.zeros(1, *SHAPE, dtype=torch.float64), operator(pictures(1))
    assert torch.allclose(project(x, Problem(y, operator)), operator.pinv(y), atol=1e-10)


def test_conjugate_gradients_stop_at_the_noise_too() -> None:
    """An operator without a known decomposition: a composition."""
    operator = GaussianBlur(SHAPE, 1.0) @ Repeat(LATENT)
    assert isinstance(operator, LinearOperator) and operator.iterative_pinv
    std = torch.tensor([0.02, 0.1], dtype=torch.float64)
    clean = operator(pictures(2, LATENT))
    y = clean + std.reshape(-1, 1, 1, 1) * SeededNoise([1, 2]).normal(clean, 0, "measurement")
    x = torch.zeros(2, *LATENT, dtype=torch.float64)
    left = (y - operator(project(x, Problem(y, operator, std)))).square().flatten(1).mean(1)
    assert (left <= std**2).all() and (left > 0.3 * std**2).all()


def test_weight_of_the_discrepancy_principle() -> None:
    power = torch.tensor([[4.0, 1.0, 2.0]], dtype=torch.float64)
    squares = torch.tensor([[1.0, 0.1, 0.0]], dtype=torch.float64)
    w = weight_at(power, squares, torch.tensor([3.0], dtype=torch.float64))
    assert float(((w / (squares + w)) ** 2 * power).sum()) == pytest.approx(3.0, rel=1e-9)
    assert float(weight_at(power, squares, torch.zeros(1, dtype=torch.float64))) == 0


def test_pixel_stage_by_structure_costs_no_gradient_and_does_what_gradient_steps_do() -> None:
    problem, _ = measured(Bicubic(SHAPE, 4), 0.02)
    prior = latent_oracle()
    observation = prior.codec.observe(problem)
    z0 = prior.color(torch.zeros(2, *LATENT, dtype=torch.float64))
    exact = PixelProjection()(z0, observation, prior)
    stepped = PixelOptimisation(LBFGS(200, tolerance=0.0))(z0, observation, prior)
    assert float(norm(exact - stepped).amax() / norm(exact - z0).amin()) < 0.2  # its last step goes a little too far


# ---- the optimisers -------------------------------------------------------------------------------------------------


def test_every_image_stops_for_itself_and_costs_nothing_afterwards() -> None:
    std = torch.tensor([0.2, 0.01], dtype=torch.float64)
    problem, _ = measured(SPECTRAL["mask"](), std)
    prior = latent_oracle()
    z0 = torch.zeros(2, *LATENT, dtype=torch.float64)
    misfit = LatentMisfit(problem, prior.codec)
    for solver in (LBFGS(30), AdamW(200, 0.05)):
        both = solver(misfit, z0, misfit.noise)
        for image in range(2):
            index = torch.tensor([image])
            alone = solver(misfit.select(index), z0[index], misfit.noise[index])
            assert float((alone - both[index]).abs().max()) < 1e-12
        assert (misfit(both) <= 1.01 * misfit.noise).all()


def test_lbfgs_needs_far_fewer_gradients_than_adamw() -> None:
    """The same misfit, from the same start, to the noise."""
    problem, _ = measured(SPECTRAL["blur"](), 0.01, batch=1)
    misfit = LatentMisfit(problem, codec())
    z0 = torch.zeros(1, *LATENT, dtype=torch.float64)
    calls = {}
    for name, solver in (("lbfgs", LBFGS(200)), ("adamw", AdamW(2000, 1e-2))):
        counted = Counted(problem, codec())
        found = solver(counted, z0, misfit.noise)
        calls[name] = Counted.calls
        assert float(misfit(found)) <= 1.2 * float(misfit.noise)
    assert calls["lbfgs"] * 4 < calls["adamw"]


class Counted(LatentMisfit):
    """Counts its evaluations; a new one begins at none."""

    calls = 0

    def __init__(self, problem: Problem, decoder) -> None:  # noqa: ANN001
        super().__init__(problem, decoder)
        Counted.calls = 0

    def __call__(self, x: Tensor) -> Tensor:
        Counted.calls += 1
        return super().__call__(x)


def test_lbfgs_descends_on_a_nonlinear_operator() -> None:
    operator = PhaseAmplitude(SHAPE)
    problem = Problem(operator(pictures(2)), operator, 0.01)
    misfit, v = PixelMisfit(problem), 2 * pictures(2) - 1 + 0.3 * torch.sin(torch.arange(16.0, dtype=torch.float64))
    found = LBFGS(40, tolerance=0.0)(misfit, v, misfit.noise)
    assert (misfit(found) < 0.05 * misfit(v)).all()


# ---- look-ahead -----------------------------------------------------------------------------------------------------


def test_looking_no_step_ahead_is_the_prior_itself() -> None:
    prior, x = pixel_twin(), SeededNoise([1]).normal(torch.zeros(1, *LATENT, dtype=torch.float64), 0, "x")
    (t,) = at(400.0)
    assert torch.equal(LookAhead(prior, 0, 0.1).estimate(State(x, t)).x0, prior.estimate(State(x, t)).x0)


def test_looking_ahead_on_a_gaussian_follows_its_flow() -> None:
    """Along its deterministic path (x_t - alpha_t mu) / sqrt(alpha_t^2 lambda + sigma_t^2) is constant."""
    spectrum = torch.full((1, 2, 2), 0.3, dtype=torch.float64)
    prior = GaussianPrior(spectrum, 0.1, Pixels(), PROCESS)
    x = torch.tensor([0.4, -0.8, 1.2, 0.0], dtype=torch.float64).reshape(1, 1, 2, 2)
    (t, s) = at(600.0, 400.0)

    def spread(time: Tensor) -> Tensor:
        return (PROCESS.alpha(time) ** 2 * 0.3 + PROCESS.sigma(time) ** 2).sqrt()

    at_s = PROCESS.alpha(s) * 0.1 + spread(s) * (x - PROCESS.alpha(t) * 0.1) / spread(t)
    wanted = prior.estimate(State(at_s, s)).x0
    errors = [
        float((LookAhead(prior, steps, 0.2 / steps).estimate(State(x, t)).x0 - wanted).abs().max()) for steps in (5, 50)
    ]
    assert errors[1] < 0.15 * errors[0] < 0.01


def test_look_ahead_calls_are_counted_and_end_above_zero() -> None:
    problem, _ = measured(SPECTRAL["mask"](), 0.05)
    plain, ahead = (
        reconstruct(problem, latent_oracle(), methods.resample(nfe=20, every=2, lookahead=n), seeds=0) for n in (0, 3)
    )
    # Visits with 12, 10, .. 2 steps left; from the last there are two times left to look at.
    assert (ahead.nfe - plain.nfe).tolist() == [3 * 5 + 2] * 2
    assert torch.isfinite(ahead.image).all()


# ---- against the exact posterior ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mask", "box", "blur", "bicubic"])
def test_resample_is_near_the_exact_posterior(name: str) -> None:
    """The mean of 8 samples loses at most 2.5 dB against the mean of 8 exact ones, behind a linear autoencoder."""
    operator = SPECTRAL[name]()
    one, truth = measured(operator, 0.02, batch=1)
    problem = replace(one, y=one.y.expand(8, *one.y.shape[1:]))
    exact = posterior(pixel_twin(), disguised(one)).sample(8, torch.Generator().manual_seed(0))
    found = reconstruct(problem, latent_oracle(), methods.resample(), seeds=0).image

    def psnr(images: Tensor) -> float:
        return float(-10 * (images.mean(0, keepdim=True) - truth).square().mean().log10())

    assert psnr(found) > psnr(codec().decode(exact)) - 2.5


def test_resample_weights_must_be_shares() -> None:
    assert torch.equal(
        resample(*(torch.ones(1, 1, 1, 1),) * 2, *at(0.5, 0.1), torch.zeros(1), torch.ones(1, 1, 1, 1)),
        torch.ones(1, 1, 1, 1),
    )
