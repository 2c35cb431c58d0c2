"""Exact priors against dense algebra, every parametrisation of a network against them, vjps against differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pellucid.codec import AffineCodec
from pellucid.errors import CompatibilityError, ShapeError
from pellucid.prior.base import Prior, State
from pellucid.prior.diffusion import DiffusionPrior, Prediction, pad_to_multiple
from pellucid.prior.gaussian import GaussianPrior, MixturePrior, Pixels
from pellucid.process import DiscreteVP, Flow, Process
from pellucid.typing import dot, expand
from tests.toys import toy_prior

SHAPE = (2, 4, 4)
T = torch.tensor([3.0, 400.0, 950.0], dtype=torch.float64)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gaussian(seed: int = 0, process: Process | None = None) -> GaussianPrior:
    """A stationary Gaussian with an arbitrary spectrum that is even, as a covariance's must be, and a mean picture."""
    power = torch.fft.fft2(random(*SHAPE, seed=seed)).abs() ** 2 / 16
    return GaussianPrior(power, 0.3 * random(*SHAPE, seed=seed + 1), process=process)


def mixture() -> MixturePrior:
    return MixturePrior([gaussian(0), gaussian(5)], [0.3, 0.7])


def dense_covariance(prior: GaussianPrior) -> Tensor:
    n = prior.spectrum.numel()
    return prior.covariance(torch.eye(n, dtype=torch.float64).reshape(n, *SHAPE)).reshape(n, n)


def test_posterior_mean_is_that_of_joint_gaussians() -> None:
    prior, x = gaussian(), random(3, *SHAPE, seed=9)
    C, mu = dense_covariance(prior), prior.mean.flatten()
    torch.testing.assert_close(C, C.T)
    found = prior.estimate(State(x, T))
    for i, t in enumerate(T):
        a, sigma = float(prior.process.alpha(t)), float(prior.process.sigma(t))
        V = a**2 * C + sigma**2 * torch.eye(len(C), dtype=torch.float64)
        wanted = mu + a * C @ torch.linalg.solve(V, x[i].flatten() - a * mu)
        torch.testing.assert_close(found.x0[i].flatten(), wanted, rtol=1e-9, atol=1e-10)


def test_color_has_the_covariance() -> None:
    prior = gaussian()
    n = prior.spectrum.numel()
    L = (prior.color(torch.eye(n, dtype=torch.float64).reshape(n, *SHAPE)) - prior.mean).reshape(n, n)
    torch.testing.assert_close(L.T @ L, dense_covariance(prior), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("prior", [gaussian(), mixture()], ids=["gaussian", "mixture"])
def test_eps_is_the_score(prior: GaussianPrior | MixturePrior) -> None:
    x = random(3, *SHAPE, seed=9).requires_grad_()
    if isinstance(prior, GaussianPrior):
        log_p = prior.log_density(x, T)
    else:
        parts = torch.stack([component.log_density(x, T) for component in prior.components], 1)
        log_p = torch.logsumexp(parts + prior.log_weights, 1)
    (score,) = torch.autograd.grad(log_p.sum(), x)
    eps = prior.estimate(State(x.detach(), T)).eps
    torch.testing.assert_close(-eps / expand(prior.process.sigma(T), eps), score, rtol=1e-8, atol=1e-9)


def test_a_mixture_of_one_is_its_component() -> None:
    x = State(random(3, *SHAPE), T)
    torch.testing.assert_close(MixturePrior([gaussian()]).estimate(x).x0, gaussian().estimate(x).x0)


def test_pixel_basis_is_a_filter_by_pixel() -> None:
    variance = 0.1 + random(*SHAPE).abs()
    prior, x = GaussianPrior(variance, basis=Pixels()), random(3, *SHAPE)
    a, sigma = (expand(f(T), x) for f in (prior.process.alpha, prior.process.sigma))
    torch.testing.assert_close(prior.estimate(State(x, T)).x0, a * variance / (a**2 * variance + sigma**2) * x)


def test_natural_has_the_pixel_std_and_mean_that_it_says() -> None:
    prior = GaussianPrior.natural(8, 3, std=0.2, mean=0.5)
    assert prior.codec.decode(prior.mean).item() == pytest.approx(0.5)
    n = 3 * 8 * 8
    variance = torch.diagonal(prior.covariance(torch.eye(n, dtype=torch.float64).reshape(n, 3, 8, 8)).reshape(n, n))
    torch.testing.assert_close(variance.sqrt() / prior.codec.scale, torch.full((n,), 0.2, dtype=torch.float64))


def foreign(prior: GaussianPrior, predicts: Prediction) -> DiffusionPrior:
    """The exact prior behind a network of another parametrisation."""
    process = prior.process

    def network(x: Tensor, time: Tensor) -> Tensor:
        if predicts == "denoiser":
            t = process.time_at_ratio(time.double())
            return prior.estimate(State(x * expand(process.alpha(t), x), t)).x0
        t = time.double() + 1 if process.discrete else time.double()
        estimate = prior.estimate(State(x, t))
        a, sigma = expand(process.alpha(t), x), expand(process.sigma(t), x)
        known = {
            "eps": estimate.eps,
            "x0": estimate.x0,
            "v": a * estimate.eps - sigma * estimate.x0,
            "score": -estimate.eps / sigma,
        }
        return known[predicts]

    return DiffusionPrior(network, process, predicts)


@pytest.mark.parametrize("process", [DiscreteVP.linear(), Flow()], ids=["linear", "flow"])
@pytest.mark.parametrize("predicts", ["eps", "x0", "v", "score", "denoiser"])
def test_every_parametrisation_means_the_same(predicts: Prediction, process: Process) -> None:
    exact = gaussian(process=process)
    state = State(random(3, *SHAPE), T * process.t_max / 1000)
    found, wanted = foreign(exact, predicts).estimate(state), exact.estimate(state)
    torch.testing.assert_close(found.x0, wanted.x0, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(found.eps, wanted.eps, rtol=1e-8, atol=1e-8)


def test_an_unknown_parametrisation_is_refused() -> None:
    with pytest.raises(CompatibilityError, match="predicts"):
        DiffusionPrior(lambda x, t: x, predicts="noise")  # type: ignore[arg-type]


PRIORS: dict[str, Prior] = {
    "gaussian": gaussian(),
    "mixture": mixture(),
    "network": toy_prior(),
    "learned-variance": toy_prior(learned_variance=True),
    "padded": DiffusionPrior(toy_prior().network, multiple=3),
}


@pytest.mark.parametrize("name", PRIORS)
def test_vjp_equals_finite_differences(name: str) -> None:
    prior, x, v, d = PRIORS[name], *(random(3, *SHAPE, seed=s) for s in (1, 2, 3))
    estimate, h = prior.estimate(State(x, T), differentiable=True), 1e-5
    assert estimate.vjp is not None
    ahead, behind = (prior.estimate(State(x + step * d, T)).x0 for step in (h, -h))
    torch.testing.assert_close(dot(estimate.vjp(v), d), dot(v, (ahead - behind) / (2 * h)), rtol=1e-6, atol=1e-7)


def test_vjp_goes_through_clipping() -> None:
    prior, x, v, d = toy_prior(), *(random(3, *SHAPE, seed=s) for s in (1, 2, 3))
    state, h = State(x, T), 1e-6

    def clipped(x: Tensor) -> Tensor:
        return prior.estimate(State(x, T)).x0.clamp(-1, 1)

    estimate = prior.estimate(state, differentiable=True).clipped((-1, 1), state, prior.process, "recompute")
    assert estimate.vjp is not None
    difference = (clipped(x + h * d) - clipped(x - h * d)) / (2 * h)
    torch.testing.assert_close(dot(estimate.vjp(v), d), dot(v, difference), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(prior.process.diffuse(estimate.x0, T, estimate.eps), x)


def test_padding_mirrors_and_crops_back() -> None:
    x = torch.arange(5.0).expand(1, 1, 5, 5)
    assert pad_to_multiple(x, 8)[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
    assert DiffusionPrior(lambda x, t: 0 * x, multiple=8).estimate(State(x, T[:1])).x0.shape == x.shape


def test_a_colour_network_says_of_grey_pictures_what_its_prior_says_of_the_mean_of_the_channels() -> None:
    """Of pictures with white channels of variance v it says E[x_0 | x_t] of grey ones of variance v / 3."""
    v = 0.3
    process = DiscreteVP.linear()

    def denoise(x: Tensor, ratio: Tensor) -> Tensor:
        return v / (v + expand(ratio**2, x)) * x

    def eps(x: Tensor, timestep: Tensor) -> Tensor:
        t = timestep.double() + 1
        alpha, sigma = expand(process.alpha(t), x), expand(process.sigma(t), x)
        return sigma * x / (alpha**2 * v + sigma**2)

    times, grey = T[:1] * 0 + 300.0, random(1, 1, 8, 8)
    ratio = float(process.ratio(times)[0])
    exact = v / (v + 3 * ratio**2) * grey / process.alpha(times)[0]
    found = DiffusionPrior(denoise, process, "denoiser", channels=3).estimate(State(grey, times)).x0
    torch.testing.assert_close(found, exact, rtol=1e-9, atol=1e-9)
    near = DiffusionPrior(eps, process, channels=3).estimate(State(grey, times)).x0
    torch.testing.assert_close(near, exact, rtol=0.02, atol=1e-3)  # its times are whole
    highest = T[:1] * 0 + process.t_max  # there is no louder time: what it is told is as loud as what it gets
    top = DiffusionPrior(eps, process, channels=3).estimate(State(grey, highest)).x0
    assert bool(torch.isfinite(top).all()) and float(top.abs().max()) < 0.1


def test_a_gaussian_is_for_pictures_of_its_shape() -> None:
    with pytest.raises(ShapeError, match=r"\(2, 4, 4\)"):
        gaussian().check((3, 4, 4))


def test_affine_codec_inverts() -> None:
    x, codec = random(1, *SHAPE), AffineCodec()
    torch.testing.assert_close(codec.decode(codec.encode(x)), x)
