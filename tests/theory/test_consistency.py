"""Each consistency against the closed form, the finite difference or the minimum that it claims to be."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from pellucid import methods
from pellucid.consistency.backprojection import BackProjection, QuietBackProjection, Replacement
from pellucid.consistency.base import Consistency
from pellucid.consistency.guidance import (
    NoisePerturbedGuidance,
    PosteriorGuidance,
    PseudoinverseGuidance,
    squared_error_gradient,
)
from pellucid.consistency.proximal import Proximal
from pellucid.consistency.when import During
from pellucid.errors import CompatibilityError
from pellucid.loop import reconstruct
from pellucid.noise import SeededNoise
from pellucid.operators.base import LinearOperator, Operator, Spectral
from pellucid.operators.blur import GaussianBlur
from pellucid.operators.mask import Mask
from pellucid.prior.base import Estimate, Prior, State
from pellucid.prior.gaussian import GaussianPrior
from pellucid.problem import Observation, Problem
from pellucid.start.admm import differences
from pellucid.step import Step
from pellucid.transition import DDPM
from pellucid.typing import dot, expand
from tests.toys import SHAPE, SPECTRAL, PhaseAmplitude, pictures, toy_prior

T = torch.tensor([60.0, 500.0], dtype=torch.float64)
S = torch.tensor([40.0, 400.0], dtype=torch.float64)
STD = torch.tensor([0.05, 0.1], dtype=torch.float64)

each_operator = pytest.mark.parametrize("name", SPECTRAL)


def random(seed: int, shape: tuple[int, ...] = (2, *SHAPE)) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Scene:
    """Two noisy pictures on their way from T to S, and what is known of them."""

    prior: Prior
    observation: Observation
    state: State

    @classmethod
    def of(cls, operator: Operator, prior: Prior | None = None, gain: float = 0.0, std: Tensor = STD) -> Scene:
        prior, x = prior or toy_prior(), pictures(2)
        clean = operator(x)
        y = clean + expand(std, clean) * random(1, tuple(clean.shape))
        observation = prior.codec.observe(Problem(y, operator, std, gain))
        return cls(prior, observation, State(prior.process.diffuse(prior.codec.encode(x), T, random(2)), T))

    @property
    def operator(self) -> LinearOperator:
        assert isinstance(self.observation.operator, LinearOperator)
        return self.observation.operator

    def estimate(self) -> Estimate:
        return self.prior.estimate(self.state, differentiable=True)

    def refined(self, consistency: Consistency) -> Estimate:
        return consistency.refine(self.estimate(), self.state, S, self.observation, self.prior)

    def step(self, estimate: Estimate | None = None) -> Step:
        estimate = estimate or self.estimate()
        k, nu = DDPM().weights(self.prior.process, T, S, estimate)
        mean = self.prior.process.mean(estimate.x0, S) + expand(k, estimate.x0) * estimate.eps
        z = random(3)
        return Step(self.state, S, estimate, estimate, mean, nu, z, mean + expand(nu, z) * z)

    def corrected(self, consistency: Consistency) -> Tensor:
        return consistency.correct(self.step(), self.observation, self.prior, SeededNoise([0, 1]))


def close(found: Tensor, wanted: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("gain", [0.0, 0.02], ids=["gaussian", "poisson"])
@pytest.mark.parametrize("operator", [PhaseAmplitude(SHAPE), GaussianBlur(SHAPE, 1.0)], ids=["phase", "blur"])
def test_guidance_gradient_equals_finite_differences(operator: Operator, gain: float) -> None:
    scene, d, h = Scene.of(operator, gain=gain), random(4), 1e-5

    size, level, gradient = squared_error_gradient(scene.estimate(), scene.observation)
    mean = scene.observation.operator(scene.estimate().x0)
    weight = expand(level, mean) / scene.observation.variance_at(mean) if gain else torch.ones_like(mean)  # held fixed

    def error(x: Tensor) -> Tensor:
        x0 = scene.prior.estimate(replace(scene.state, x=x)).x0
        return (weight * scene.observation.residual(x0).square()).flatten(1).sum(1)

    if gain == 0:
        close(size, scene.observation.residual(scene.estimate().x0).flatten(1).square().sum(1))
    difference = (error(scene.state.x + h * d) - error(scene.state.x - h * d)) / (2 * h)
    close(dot(gradient, d), difference, 1e-5)


def test_the_likelihood_rule_is_the_score_of_a_gaussian_likelihood() -> None:
    """With residuals as large as the noise says, DPS shifts DDPM's mean by that of grad log N(y; A x0, sigma_y^2)."""
    scene = Scene.of(GaussianBlur(SHAPE, 1.0), std=torch.tensor([5.0, 5.0], dtype=torch.float64))
    step, process = scene.step(), scene.prior.process
    _, _, gradient = squared_error_gradient(step.raw, scene.observation)
    log_likelihood = -gradient / (2 * expand(scene.observation.noise_std**2, gradient))
    x0 = step.raw.x0 + expand(process.sigma(T) ** 2 / process.alpha(T), gradient) * log_likelihood
    guided = Estimate(x0, process.eps(scene.state.x, x0, T))
    size = scene.observation.residual(step.raw.x0).flatten(1).square().mean(1)
    factor = (scene.observation.noise_std**2 / size).clamp(max=1)
    wanted = scene.step().x_s + expand(factor, x0) * (scene.step(guided).mean - scene.step().mean)
    close(scene.corrected(PosteriorGuidance()), wanted)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(CompatibilityError, match="rule"):
        PosteriorGuidance(rule="norm")  # type: ignore[arg-type]


@each_operator
def test_back_projection_is_exact_and_idempotent(name: str) -> None:
    scene = Scene.of(SPECTRAL[name](), std=0 * STD)
    A, once = scene.operator, scene.refined(BackProjection())
    close(A.pinv(A(once.x0)), A.pinv(scene.observation.y), 1e-8)
    again = BackProjection().refine(once, scene.state, S, scene.observation, scene.prior)
    close(again.x0, once.x0, 1e-8)
    close(once.eps, scene.estimate().eps)
    moved = once.x0 - scene.estimate().x0
    close(A.pinv(A(moved)), moved, 1e-8)  # nothing of the null space is touched


@each_operator
def test_quiet_back_projection_is_back_projection_where_there_is_no_noise(name: str) -> None:
    scene = Scene.of(SPECTRAL[name](), std=0 * STD)
    close(scene.refined(QuietBackProjection()).x0, scene.refined(BackProjection()).x0)


def test_quiet_back_projection_lets_go_of_what_is_noisier_than_the_process() -> None:
    loud = Scene.of(Mask.random(SHAPE, 0.5), std=torch.tensor([5.0, 0.01], dtype=torch.float64))
    refined, plain, untouched = (loud.refined(c).x0 for c in (QuietBackProjection(), BackProjection(), Consistency()))
    close(refined[0], untouched[0])
    close(refined[1], plain[1])


@each_operator
def test_replacement_leaves_the_measurement_at_the_level_of_s(name: str) -> None:
    scene = Scene.of(SPECTRAL[name]())
    A, process = scene.operator, scene.prior.process
    x, z = scene.corrected(Replacement()), SeededNoise([0, 1]).normal(scene.state.x, 0, "measurement")
    y = expand(process.alpha(S), scene.observation.y) * scene.observation.y
    y = y + expand(process.sigma(S), y) * A(z)
    close(A.pinv(A(x)), A.pinv(y), 1e-8)
    free = scene.step().x_s
    close(x - A.pinv(A(x)), free - A.pinv(A(free)), 1e-8)


@each_operator
@pytest.mark.parametrize("data_std", [None, 0.5])
def test_proximal_is_the_minimum(name: str, data_std: float | None) -> None:
    scene = Scene.of(SPECTRAL[name]())
    refined, x0 = scene.refined(Proximal(lam=2.0, data_std=data_std)), scene.estimate().x0
    s2 = scene.prior.process.ratio(T) ** 2
    v = s2 if data_std is None else s2 * data_std**2 / (s2 + data_std**2)
    rho = 2.0 * scene.observation.noise_std**2 / v
    gradient = expand(rho, x0) * (refined.x0 - x0) - scene.operator.adjoint(scene.observation.residual(refined.x0))
    close(gradient, torch.zeros_like(x0), 1e-8)
    close(scene.prior.process.diffuse(refined.x0, T, refined.eps), scene.state.x)


def posterior_mean(prior: GaussianPrior, observation: Observation, state: State | None = None) -> Tensor:
    """E[x_0 | y], or E[x_0 | x_t, y], by dense algebra, one image after the other."""
    shape = tuple(prior.spectrum.shape)
    n = prior.spectrum.numel()
    eye = torch.eye(n, dtype=torch.float64)
    C = prior.covariance(eye.reshape(n, *shape)).reshape(n, n)
    A = observation.operator(eye.reshape(n, *shape)).reshape(n, -1).T
    mu, means = prior.mean.expand(shape).flatten(), []
    for i, y in enumerate(observation.y):
        H, data, R = A, y.flatten(), torch.full((len(A),), float(observation.noise_std[i]) ** 2)
        if state is not None:
            a, sigma = (float(f(state.t[i])) for f in (prior.process.alpha, prior.process.sigma))
            H, data = torch.cat([H, a * eye]), torch.cat([data, state.x[i].flatten()])
            R = torch.cat([R, torch.full((n,), sigma**2)])
        means.append(mu + C @ H.T @ torch.linalg.solve(H @ C @ H.T + torch.diag(R.double()), data - H @ mu))
    return torch.stack(means).reshape(-1, *shape)


@pytest.mark.parametrize("name", ["mask", "blur", "bicubic"])
def test_pseudoinverse_guidance_is_exact_for_white_data(name: str) -> None:
    white = GaussianPrior(torch.full(SHAPE, 0.3**2, dtype=torch.float64), 0.1)
    scene = Scene.of(SPECTRAL[name](), white)
    refined = scene.refined(PseudoinverseGuidance(data_std=0.3))
    close(refined.x0, posterior_mean(white, scene.observation, scene.state), 1e-7)
    close(white.process.diffuse(refined.x0, T, refined.eps), scene.state.x)


@pytest.mark.parametrize("name", ["mask", "blur", "bicubic"])
def test_noise_perturbed_guidance_is_the_score_of_its_likelihood(name: str) -> None:
    scene = Scene.of(SPECTRAL[name]())
    process, operator = scene.prior.process, scene.operator
    assert isinstance(operator, Spectral)
    x = scene.state.x.clone().requires_grad_()
    s = operator.singular_values(x)
    noise = scene.observation.noise_std.reshape(-1, 1, 1, 1)
    variance = s**2 * expand(process.ratio(T) ** 2, x) + noise**2
    r = operator.measured_to_spectrum(scene.observation.y) - s * operator.to_spectrum(x / expand(process.alpha(T), x))
    (score,) = torch.autograd.grad((-(r**2) / (2 * variance)).sum(), x)
    shift = scene.corrected(NoisePerturbedGuidance(scale=1.0, at="x_t")) - scene.step().x_s
    beta = 1 - process.alpha(T) ** 2 / process.alpha(S) ** 2
    close(shift, expand(process.alpha(S) / process.alpha(T) * beta, x) * score, 1e-8)


def test_during_acts_when_it_says() -> None:
    rule = During(BackProjection(), first=2, last=9, every=3)
    assert [k for k in range(12) if rule.acts(k)] == [2, 5, 8]
    assert rule.needs is LinearOperator and not rule.needs_vjp
    assert During(PosteriorGuidance()).needs_vjp


@pytest.mark.parametrize("sigma_d", [0.1, 0.4])
def test_plug_and_play_ends_at_the_posterior_mean(sigma_d: float) -> None:
    prior = GaussianPrior.natural(8)
    operator = GaussianBlur((3, 8, 8), 1.0)
    y = operator(pictures(2, (3, 8, 8))) + 0.05 * random(1, (2, 3, 8, 8))
    problem = Problem(y, operator, 0.05)
    found = reconstruct(problem, prior, methods.pnp_admm(nfe=400, sigma_d=sigma_d)).image
    close(found, prior.codec.decode(posterior_mean(prior, prior.codec.observe(problem))), 1e-4)


def test_total_variation_is_a_minimum() -> None:
    """The objective falls with the iterations, hardly any more at the end, and every small change raises it."""
    operator, lam, shape = GaussianBlur((1, 8, 8), 1.0), 0.05, (1, 1, 8, 8)
    y = operator(pictures(1, (1, 8, 8))) + 0.05 * random(1, shape)
    problem, prior = Problem(y, operator, 0.05), toy_prior()
    runs = [reconstruct(problem, prior, methods.admm_tv(iterations=n, lam=lam)).image for n in (10, 200, 400)]
    y_net = 2 * y - operator(torch.ones_like(y))

    def objective(image: Tensor) -> float:
        x = prior.codec.encode(image)
        return float((y_net - operator(x)).square().sum() / 2 + lam * differences(x).square().sum(1).sqrt().sum())

    early, late, best = (objective(image) for image in runs)
    assert early > best and abs(late - best) < 1e-3 * best
    for seed in range(20):
        assert all(objective(runs[-1] + size * random(seed, shape)) > best for size in (0.1, 0.01, 0.001))
