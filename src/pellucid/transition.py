"""Transitions: k and nu of x_s = M_s(x0) + k eps + nu z, from time t to time s.

Every formula is in terms of alpha and sigma alone, so it holds for any grid and any Gaussian process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.degradation import Degradation
from pellucid.errors import CompatibilityError, require_range
from pellucid.prior.base import Estimate, Prior, State
from pellucid.process import Process
from pellucid.typing import expand


class Transition(ABC):
    """The rule of one step. `needs_learned_variance` says whether the prior must predict its variance."""

    needs_learned_variance = False

    @abstractmethod
    def weights(self, process: Process, t: Tensor, s: Tensor, estimate: Estimate) -> tuple[Tensor, Tensor]:
        """(k, nu), each (b,) or of the picture's shape."""

    def mean(self, process: Process, state: State, s: Tensor, estimate: Estimate, k: Tensor) -> Tensor:
        """M_t(x0) + R + k eps, where R = M_s(x0) - M_t(x0) unless a rule has another estimate of it."""
        return process.mean(estimate.x0, s) + expand(k, state.x) * estimate.eps

    def check(self, prior: Prior) -> None:
        """Raises `CompatibilityError` where the rule is not one for this prior and its process."""
        if isinstance(prior.process, Degradation):
            raise CompatibilityError(
                "this prior undoes a degradation of its own, step by step; only the method dirac goes that way"
            )


def posterior_share(process: Process, t: Tensor, s: Tensor) -> Tensor:
    """tau = 1 - (alpha_t sigma_s / (alpha_s sigma_t))^2: the share of sigma_s^2 that DDPM draws afresh, (b,)."""
    inner = process.alpha(t) * process.sigma(s) / (process.alpha(s) * process.sigma(t))
    return (1 - inner**2).clamp(min=0)


def beta(process: Process, t: Tensor, s: Tensor) -> Tensor:
    """Variance that the forward process adds from s up to t: sigma_t^2 - (alpha_t sigma_s / alpha_s)^2, (b,).

    For a variance-preserving process this is 1 - alpha_t^2 / alpha_s^2, the beta of the step of this grid.
    """
    return (process.sigma(t) ** 2 - (process.alpha(t) / process.alpha(s) * process.sigma(s)) ** 2).clamp(min=0)


def score_shift(process: Process, t: Tensor, s: Tensor) -> Tensor:
    """How far DDPM's mean moves when the score at x_t gains g: by (alpha_s / alpha_t) beta g, (b,).

    From x0 + (sigma_t^2 / alpha_t) g and eps - sigma_t g in M_s(x0) + k eps with DDPM's k.
    """
    return process.alpha(s) / process.alpha(t) * beta(process, t, s)


@dataclass(frozen=True)
class DDIM(Transition):
    """k = sigma_s sqrt(1 - eta^2 tau), nu = sigma_s eta sqrt(tau). eta = 0: deterministic; eta = 1: DDPM.

    Song et al., Denoising Diffusion Implicit Models, ICLR 2021, eq. (12) and (16). An eta above 1 could make
    1 - eta^2 tau negative.
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        require_range("eta", self.eta, 0, 1)

    def weights(self, process: Process, t: Tensor, s: Tensor, estimate: Estimate) -> tuple[Tensor, Tensor]:
        fresh = self.eta**2 * posterior_share(process, t, s)
        return process.sigma(s) * (1 - fresh).sqrt(), process.sigma(s) * fresh.sqrt()


@dataclass(frozen=True)
class DDPM(DDIM):
    """Ancestral sampling, DDIM at eta = 1: the posterior q(x_s | x_t, x_0) (Ho et al., 2020, eq. 6 and 7)."""

    eta: float = 1.0


@dataclass(frozen=True)
class LearnedVariance(Transition):
    """DDPM's k, and nu from the network: ln nu^2 = f ln beta + (1 - f) ln betatilde.

    Nichol and Dhariwal, 2021, eq. (15). The last step, into sigma_s = 0, draws no noise.
    """

    needs_learned_variance = True

    def weights(self, process: Process, t: Tensor, s: Tensor, estimate: Estimate) -> tuple[Tensor, Tensor]:
        if estimate.mix is None:
            raise CompatibilityError("LearnedVariance needs a prior with learned variance; DDPM() works with any")
        share, sigma = posterior_share(process, t, s), process.sigma(s)
        k = sigma * (1 - share).sqrt()
        tiny = torch.finfo(torch.float64).tiny
        log_beta = expand(beta(process, t, s).clamp(min=tiny).log(), estimate.mix)
        log_posterior = expand((share * sigma**2).clamp(min=tiny).log(), estimate.mix)
        nu = torch.exp((estimate.mix * log_beta + (1 - estimate.mix) * log_posterior) / 2)
        return k, torch.where(expand(sigma, nu) > 0, nu, 0)


@dataclass(frozen=True)
class FixedLarge(Transition):
    """DDPM's k, and nu^2 = beta, the upper variance choice of Ho et al. (2020, section 3.2); none in the last step."""

    def weights(self, process: Process, t: Tensor, s: Tensor, estimate: Estimate) -> tuple[Tensor, Tensor]:
        sigma = process.sigma(s)
        k = sigma * (1 - posterior_share(process, t, s)).sqrt()
        return k, torch.where(sigma > 0, beta(process, t, s).sqrt(), 0)


@dataclass(frozen=True)
class Mixed(Transition):
    """k = sigma_s sqrt(1 - eta^2), nu = sigma_s eta: DDNM's code, SSD's generation, DiffPIR (eta^2 = zeta)."""

    eta: float = 0.85

    def __post_init__(self) -> None:
        require_range("eta", self.eta, 0, 1)

    def weights(self, process: Process, t: Tensor, s: Tensor, estimate: Estimate) -> tuple[Tensor, Tensor]:
        sigma = process.sigma(s)
        return sigma * (1 - self.eta**2) ** 0.5, sigma * self.eta


@dataclass(frozen=True)
class Renoise(Transition):
    """k = 0, nu = sigma_s: forget eps, draw anew. CCDF's start, DDNM's way back up."""

    def weights(self, process: Process, t: Tensor, s: Tensor, estimate: Estimate) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(s), process.sigma(s)


@dataclass(frozen=True)
class Inversion(Transition):
    """SSD's distortion-adaptive inversion, upward (s > t): k^2 = sigma_s^2 - eta beta_s, nu^2 = eta beta_s.

    beta_s = 1 - alpha_s^2 / alpha_t^2 (variance preserving). eta = 0 is DDIM inversion; eta = 1 is the forward
    process itself. Liu et al., Accelerating Diffusion Models for Inverse Problems through Shortcut Sampling, IJCAI
    2024, eq. (11).
    """

    eta: float = 0.4

    def __post_init__(self) -> None:
        require_range("eta", self.eta, 0, 1)

    def weights(self, process: Process, t: Tensor, s: Tensor, estimate: Estimate) -> tuple[Tensor, Tensor]:
        fresh = self.eta * beta(process, s, t)
        return (process.sigma(s) ** 2 - fresh).clamp(min=0).sqrt(), fresh.sqrt()


NO_RATES = "this prior tells no increments; train it with `increment` above 0, or use increments=look-ahead"
INCREMENTS = ("look-ahead", "small-look-ahead", "look-back", "small-look-back", "network")


@dataclass(frozen=True)
class Reversal(Transition):
    """Dirac's step back through a degradation process: k = sigma_s^2 / sigma_t, nu^2 = sigma_t^2 - sigma_s^2.

    Fabian, Tinaz and Soltanolkotabi, DiracDiffusion, ICML 2024, eq. (7) with the score of eq. (11): Euler-Maruyama on
    the reverse SDE, x_s = A_t(Phi) + R + k eps + nu z. `increments` is how R = A_s(x_0) - A_t(x_0) is estimated, with
    D = t - s and d = min(small, D):

        "look-ahead"         A_s(Phi) - A_t(Phi)                                             eq. (13)
        "small-look-ahead"   (D / d) (A_{t-d}(Phi) - A_t(Phi))                               eq. (31)
        "look-back"          A_t(Phi) - A_{t+D}(Phi)                                         eq. (33)
        "small-look-back"    (D / d) (A_t(Phi) - A_{t+d}(Phi))                               eq. (35)
        "network"            D times the rate that the network was trained to tell

    Where there is nothing more severe to look back to, at t + D >= 1 (or t + d), it looks ahead.

    Args:
        increments: see above.
        small: d.
    """

    increments: str = "look-ahead"
    small: float = 0.01

    def __post_init__(self) -> None:
        if self.increments not in INCREMENTS:
            raise CompatibilityError(f"increments must be one of {', '.join(INCREMENTS)}, not {self.increments!r}")
        require_range("small", self.small, 0, 1, above=True)

    def weights(self, process: Process, t: Tensor, s: Tensor, estimate: Estimate) -> tuple[Tensor, Tensor]:
        before, after = process.sigma(t), process.sigma(s)
        return after**2 / before, (before**2 - after**2).clamp(min=0).sqrt()

    def mean(self, process: Process, state: State, s: Tensor, estimate: Estimate, k: Tensor) -> Tensor:
        x, t = state.x, state.t
        now = x - expand(process.sigma(t), x) * estimate.eps  # A_t(Phi), which eps was made from
        increment = self.increment(process, now, t, s, estimate)
        return now + increment + expand(k, x) * estimate.eps

    def increment(self, process: Process, now: Tensor, t: Tensor, s: Tensor, estimate: Estimate) -> Tensor:
        """R, given now = A_t(Phi)."""
        x0, step = estimate.x0, t - s
        if self.increments == "network":
            if estimate.rate is None:
                raise CompatibilityError(NO_RATES)
            return expand(step, now) * estimate.rate
        reach = step.clamp(max=self.small) if self.increments.startswith("small") else step
        scale = expand(torch.where(reach > 0, step / torch.where(reach > 0, reach, 1), 0), now)
        if self.increments.endswith("ahead"):
            return scale * (process.mean(x0, t - reach) - now)
        severe = t + reach >= process.t_max - 1e-9
        other = process.mean(x0, torch.where(severe, t - reach, t + reach))
        return scale * expand(torch.where(severe, 1.0, -1.0), now) * (other - now)

    def check(self, prior: Prior) -> None:
        if self.increments == "network" and not getattr(prior, "rates", False):
            raise CompatibilityError(NO_RATES)
        if not isinstance(prior.process, Degradation):
            raise CompatibilityError(
                "dirac needs a prior that was trained on a degradation process, such as photo-dirac-blur; this one was "
                "trained on Gaussian noise alone"
            )
