"""Consistency in the spectral basis: DDRM and DDNM+ weigh every singular direction by its own noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from pellucid.consistency.base import Consistency
from pellucid.consistency.proximal import noise_level
from pellucid.errors import require_range
from pellucid.noise import Noise
from pellucid.operators.base import Operator, Spectral
from pellucid.prior.base import Estimate, Prior, State
from pellucid.problem import Observation
from pellucid.step import Step
from pellucid.typing import expand


@dataclass(frozen=True)
class Spectrum:
    """A measurement in the basis of its operator: s and 1 / s (0 where not kept), U^T y, and the noise level."""

    s: Tensor
    inverse: Tensor
    y: Tensor
    noise: Tensor

    @classmethod
    def of(cls, observation: Observation, like: Tensor) -> Spectrum:
        operator = spectral(observation)
        kept = operator.kept(like)
        s = torch.where(kept, operator.singular_values(like), 0)
        noise = expand(noise_level(observation), s)
        return cls(s, operator.inverse_singular_values(like), observation.spectrum, noise)


def spectral(observation: Observation) -> Spectral:
    """The observation's operator, known to be spectral since the method was checked."""
    assert isinstance(observation.operator, Spectral)
    return observation.operator


@dataclass(frozen=True)
class DDRMUpdate(Consistency):
    """DDRM's step, by singular direction (Kawar et al., NeurIPS 2022, eq. 7 and 8), in units of x / alpha.

    With xbar = V^T x0, ybar = U^T y / s, sigma' = sigma_s / alpha_s and measurement noise sigma_y:

        s = 0                 xbar + sigma' sqrt(1 - eta^2) V^T eps + eta sigma' z
        s sigma' < sigma_y    xbar + sigma' sqrt(1 - eta^2) (U^T y - s xbar) / sigma_y + eta sigma' z
        s sigma' > sigma_y    (1 - eta_b) xbar + eta_b ybar + sqrt(sigma'^2 - eta_b^2 sigma_y^2 / s^2) z

    and the first line where neither inequality holds (a noiseless last step: xbar). The transition's own k and nu are
    not used.

    Args:
        eta: fresh share of the noise where the measurement says little.
        eta_b: how much of the measurement is taken where it says more than x_s.
    """

    eta: float = 0.85
    eta_b: float = 1.0
    needs: ClassVar[type[Operator]] = Spectral

    def __post_init__(self) -> None:
        require_range("eta", self.eta, 0, 1)
        require_range("eta_b", self.eta_b, 0, 1)

    def correct(self, step: Step, observation: Observation, prior: Prior, noise: Noise) -> Tensor:
        operator, process, x0 = spectral(observation), prior.process, step.estimate.x0
        m = Spectrum.of(observation, x0)
        ratio = process.sigma(step.s) / process.alpha(step.s)
        sigma = expand(ratio, m.s)
        xbar, eps, z = (operator.to_spectrum(v) for v in (x0, step.estimate.eps, step.z))
        kept_noise = sigma * (1 - self.eta**2) ** 0.5
        blind = xbar + kept_noise * eps + self.eta * sigma * z
        safe = torch.where(m.noise > 0, m.noise, 1)
        weak = xbar + kept_noise * (m.y - m.s * xbar) / safe + self.eta * sigma * z
        spread = (sigma**2 - (self.eta_b * m.noise * m.inverse) ** 2).clamp(min=0).sqrt()
        strong = (1 - self.eta_b) * xbar + self.eta_b * m.inverse * m.y + spread * z
        out = torch.where(m.s * sigma > m.noise, strong, torch.where((m.s > 0) & (m.s * sigma < m.noise), weak, blind))
        return expand(process.alpha(step.s), x0) * operator.from_spectrum(out)


@dataclass(frozen=True)
class DDNMPlusUpdate(Consistency):
    """DDNM+: back-projection scaled down where the measurement's noise exceeds the step's (Wang et al., 2023, app. I).

    With a = alpha_s, st = sigma_s and measurement noise sigma_y, by singular direction:

        st >= a sigma_y / s   lambda = 1                                    noise sqrt(st^2 - a^2 sigma_y^2 / s^2) z
        st <  a sigma_y / s   lambda = s st sqrt(1 - eta^2) / (a sigma_y)   noise eta st z
        s = 0                 -                                             noise eta st z + sqrt(1 - eta^2) st eps

    x0 <- x0 - V Lambda V^T A^+ (A x0 - y), and x_s = a x0 + V noise; the transition's own k and nu are not used.

    Args:
        eta: fresh share of the noise.
    """

    eta: float = 0.85
    needs: ClassVar[type[Operator]] = Spectral

    def refine(self, estimate: Estimate, state: State, s: Tensor, observation: Observation, prior: Prior) -> Estimate:
        operator, x0 = spectral(observation), estimate.x0
        m, a, st = self._at(s, observation, prior, x0)
        weak = m.s * st * (1 - self.eta**2) ** 0.5 / torch.where(m.noise > 0, a * m.noise, 1)
        weight = torch.where(st * m.s >= a * m.noise, 1, weak)
        error = m.inverse * (m.s * operator.to_spectrum(x0) - m.y)
        return replace(estimate, x0=x0 - operator.from_spectrum(weight * error))

    def correct(self, step: Step, observation: Observation, prior: Prior, noise: Noise) -> Tensor:
        operator = spectral(observation)
        m, a, st = self._at(step.s, observation, prior, step.x_s)
        z, eps = operator.to_spectrum(step.z), operator.to_spectrum(step.estimate.eps)
        strong = (st**2 - (a * m.noise * m.inverse) ** 2).clamp(min=0).sqrt() * z
        blind = self.eta * st * z + (1 - self.eta**2) ** 0.5 * st * eps
        drawn = torch.where(m.s == 0, blind, torch.where(st * m.s > a * m.noise, strong, self.eta * st * z))
        return prior.process.mean(step.estimate.x0, step.s) + operator.from_spectrum(drawn)

    def _at(
        self, time: Tensor, observation: Observation, prior: Prior, like: Tensor
    ) -> tuple[Spectrum, Tensor, Tensor]:
        m = Spectrum.of(observation, like)
        return m, expand(prior.process.alpha(time), m.s), expand(prior.process.sigma(time), m.s)
