"""Every line of the table of transitions, against the formula it is named after."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pellucid.errors import CompatibilityError
from pellucid.prior.base import Estimate
from pellucid.process import VE, DiscreteVP, Flow, Process
from pellucid.transition import DDIM, DDPM, FixedLarge, Inversion, LearnedVariance, Mixed, Renoise, Transition

PROCESSES: dict[str, Process] = {
    "linear": DiscreteVP.linear(),
    "scaled-linear": DiscreteVP.scaled_linear(),
    "cosine": DiscreteVP.cosine(),
    "ve": VE(),
    "flow": Flow(),
}
SHARES = torch.tensor([[0.9, 0.7], [0.6, 0.55], [0.3, 0.05], [0.1, 0.01]], dtype=torch.float64)  # from t to s
NOTHING = Estimate(torch.zeros(4, 1, 1, 1), torch.zeros(4, 1, 1, 1))

each_process = pytest.mark.parametrize("name", PROCESSES)


def levels(name: str) -> tuple[Process, Tensor, Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """The process, times t > s, and (alpha_t, sigma_t, alpha_s, sigma_s)."""
    process = PROCESSES[name]
    t, s = (process.on_grid(process.at_pace(share)) for share in SHARES.T)
    return process, t, s, (process.alpha(t), process.sigma(t), process.alpha(s), process.sigma(s))


def weights(rule: Transition, process: Process, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    return rule.weights(process, t, s, NOTHING)


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


@each_process
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_ddim(name: str, eta: float) -> None:
    process, t, s, (a_t, sigma_t, a_s, sigma_s) = levels(name)
    k, nu = weights(DDIM(eta), process, t, s)
    tau = eta**2 * (1 - (a_t * sigma_s / (a_s * sigma_t)) ** 2)
    close(k, sigma_s * (1 - tau).sqrt())
    close(nu, sigma_s * tau.sqrt())


@each_process
def test_ddpm_is_the_posterior_of_the_forward_process(name: str) -> None:
    process, t, s, (a_t, sigma_t, a_s, sigma_s) = levels(name)
    k, nu = weights(DDPM(), process, t, s)
    gain = a_t / a_s
    step = sigma_t**2 - gain**2 * sigma_s**2  # x_t = gain x_s + sqrt(step) n
    variance = 1 / (1 / sigma_s**2 + gain**2 / step)
    x0, eps = torch.tensor(0.7, dtype=torch.float64), torch.tensor(-1.3, dtype=torch.float64)
    x_t = a_t * x0 + sigma_t * eps
    close(a_s * x0 + k * eps, variance * (a_s * x0 / sigma_s**2 + gain * x_t / step))
    close(nu**2, variance)


@each_process
@pytest.mark.parametrize("rule", [DDIM(0.0), DDIM(0.5), DDPM(), Mixed(0.85), Renoise()])
def test_noise_adds_up_to_sigma_s(name: str, rule: Transition) -> None:
    process, t, s, (*_, sigma_s) = levels(name)
    k, nu = weights(rule, process, t, s)
    close(k**2 + nu**2, sigma_s**2)


@each_process
def test_mixed_and_renoise(name: str) -> None:
    process, t, s, (*_, sigma_s) = levels(name)
    k, nu = weights(Mixed(0.6), process, t, s)
    close(k, 0.8 * sigma_s)
    close(nu, 0.6 * sigma_s)
    k, nu = weights(Renoise(), process, t, s)
    close(k, 0 * sigma_s)
    close(nu, sigma_s)


@each_process
def test_learned_variance_lies_between_the_posterior_and_beta(name: str) -> None:
    process, t, s, (a_t, sigma_t, a_s, sigma_s) = levels(name)
    beta = sigma_t**2 - (a_t / a_s * sigma_s) ** 2
    posterior = weights(DDPM(), process, t, s)
    for mix, variance in ((0.0, posterior[1] ** 2), (1.0, beta), (0.5, (posterior[1] ** 2 * beta).sqrt())):
        estimate = Estimate(NOTHING.x0, NOTHING.eps, mix=torch.full((4, 1, 1, 1), mix, dtype=torch.float64))
        k, nu = LearnedVariance().weights(process, t, s, estimate)
        close(k, posterior[0])
        close(nu.flatten() ** 2, variance)
    k, nu = weights(FixedLarge(), process, t, s)
    close(k, posterior[0])
    close(nu**2, beta)


@pytest.mark.parametrize("rule", [LearnedVariance(), FixedLarge(), DDPM(), Mixed()])
def test_the_last_step_draws_no_noise(rule: Transition) -> None:
    estimate = Estimate(NOTHING.x0, NOTHING.eps, mix=torch.ones(4, 1, 1, 1, dtype=torch.float64))
    t = torch.ones(4, dtype=torch.float64)
    k, nu = rule.weights(DiscreteVP.linear(), t, 0 * t, estimate)
    assert not k.any() and not nu.any()


def test_learned_variance_needs_a_prior_that_has_one() -> None:
    process, t, s, _ = levels("linear")
    with pytest.raises(CompatibilityError, match=r"DDPM\(\)"):
        weights(LearnedVariance(), process, t, s)


@pytest.mark.parametrize("name", ["linear", "scaled-linear", "cosine"])
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_inversion(name: str, eta: float) -> None:
    process, s, t, (a_s, sigma_s, a_t, _) = levels(name)  # upward: s > t
    k, nu = weights(Inversion(eta), process, t, s)
    beta = 1 - a_s**2 / a_t**2
    close(k, (sigma_s**2 - eta * beta).sqrt())
    close(nu, (eta * beta).sqrt())


@each_process
def test_inversion_at_one_is_the_forward_process(name: str) -> None:
    process, s, t, (a_s, sigma_s, a_t, sigma_t) = levels(name)
    k, nu = weights(Inversion(1.0), process, t, s)
    x0, eps = torch.tensor(0.7, dtype=torch.float64), torch.tensor(-1.3, dtype=torch.float64)
    close(a_s * x0 + k * eps, a_s / a_t * (a_t * x0 + sigma_t * eps))
    close(nu**2, sigma_s**2 - (a_s / a_t * sigma_t) ** 2)


@each_process
def test_inversion_at_zero_is_ddim_inversion(name: str) -> None:
    process, s, t, (_, sigma_s, _, _) = levels(name)
    k, nu = weights(Inversion(0.0), process, t, s)
    close(k, sigma_s)
    assert not nu.any()


@pytest.mark.parametrize("rule", [DDIM, Mixed, Inversion])
def test_shares_outside_zero_and_one_are_refused(rule: type[DDIM]) -> None:
    with pytest.raises(CompatibilityError, match="eta"):
        rule(1.5)
