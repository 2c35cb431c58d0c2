"""Exact posteriors of linear problems under Gaussian and mixture priors, by dense linear algebra, channel by channel.

With x_0 ~ N(mu, C), y = A x_0 + n, n ~ N(0, sigma^2 I) and S = A C A^T + sigma^2 I:

    mean = mu + C A^T S^{-1} (y - A mu),    covariance = C - C A^T S^{-1} A C.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.errors import CompatibilityError
from pellucid.operators.base import LinearOperator, Spectral
from pellucid.prior.gaussian import GaussianPrior, MixturePrior
from pellucid.problem import Observation, Problem

JITTER = 1e-10  # relative to the largest variance of a measurement: noiseless problems have a singular S


@dataclass(frozen=True)
class GaussianPosterior:
    """p(x_0 | y) for one measurement, in the prior's units.

    Attributes:
        prior: the Gaussian.
        observation: one measurement (batch of 1).
        gain: C A^T L^{-T} per channel, (c, n, m), S = L L^T.
        factor: L per channel, (c, m, m).
    """

    prior: GaussianPrior
    observation: Observation
    gain: Tensor
    factor: Tensor

    @classmethod
    def of(cls, prior: GaussianPrior, observation: Observation) -> GaussianPosterior:
        """Raises `CompatibilityError` for an operator that mixes channels or is not linear."""
        operator = effective_operator(observation)
        shape = operator.image_shape
        if not _channelwise(operator):
            raise CompatibilityError("exact posteriors are computed channel by channel; this operator mixes channels")
        gains: list[Tensor] = []
        factors: list[Tensor] = []
        columns = _columns(prior, operator)
        for channel in range(shape[0]):
            a_c, a_c_at = columns[channel]
            if channel and columns[channel] is columns[0]:
                gains.append(gains[0])
                factors.append(factors[0])
                continue
            noise = float(observation.noise_std[0]) ** 2
            s = a_c_at + (noise + JITTER * a_c_at.diagonal().max()) * torch.eye(len(a_c_at), dtype=a_c_at.dtype)
            factor = torch.linalg.cholesky(s)
            gains.append(torch.linalg.solve_triangular(factor, a_c, upper=False).T)
            factors.append(factor)
        return cls(prior, observation, torch.stack(gains), torch.stack(factors))

    def shift(self, residual: Tensor) -> Tensor:
        """C A^T S^{-1} r for residuals r (k, c, ...) -> (k, c, h, w)."""
        r = residual.flatten(2).permute(1, 2, 0)
        white = torch.linalg.solve_triangular(self.factor, r, upper=False)
        return (self.gain @ white).permute(2, 0, 1).reshape(len(residual), *self.prior.spectrum.shape)

    @property
    def mean(self) -> Tensor:
        """E[x_0 | y], (1, c, h, w)."""
        mu = self.prior.mean.expand(1, *self.prior.spectrum.shape)
        return mu + self.shift(self.observation.residual(mu))

    @property
    def std(self) -> Tensor:
        """Standard deviation of every pixel, (1, c, h, w)."""
        ones = torch.zeros(1, *self.prior.spectrum.shape, dtype=torch.float64)
        ones[..., 0, 0] = 1
        marginal = self.prior.covariance(ones)[..., :1, :1]  # stationary: the same variance everywhere
        explained = self.gain.square().sum(2).reshape(1, *self.prior.spectrum.shape)
        return (marginal - explained).clamp(min=0).sqrt()

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Exact samples, (count, c, h, w): a draw of the prior, moved by the error of its own measurement."""
        shape = self.prior.spectrum.shape
        x = self.prior.color(torch.randn(count, *shape, generator=generator, dtype=torch.float64))
        operator, y = self.observation.operator, self.observation.y
        noise = torch.randn(count, *y.shape[1:], generator=generator, dtype=torch.float64)
        return x + self.shift(y - operator(x) - float(self.observation.noise_std[0]) * noise)

    def log_evidence(self) -> Tensor:
        """ln p(y) up to a constant that priors of one shape share."""
        mu = self.prior.mean.expand(1, *self.prior.spectrum.shape)
        r = self.observation.residual(mu).flatten(2).permute(1, 2, 0)
        white = torch.linalg.solve_triangular(self.factor, r, upper=False)
        return -0.5 * white.square().sum() - self.factor.diagonal(dim1=1, dim2=2).log().sum()


@dataclass(frozen=True)
class MixturePosterior:
    """p(x_0 | y) of a mixture prior: a mixture of the components' posteriors, reweighted by their evidence.

    Attributes:
        parts: one posterior a component.
        weights: their probabilities given y, (K,).
    """

    parts: list[GaussianPosterior]
    weights: Tensor

    @classmethod
    def of(cls, prior: MixturePrior, observation: Observation) -> MixturePosterior:
        parts = [GaussianPosterior.of(component, observation) for component in prior.components]
        evidence = torch.stack([part.log_evidence() for part in parts])
        return cls(parts, torch.softmax(prior.log_weights + evidence, dim=0))

    @property
    def mean(self) -> Tensor:
        """E[x_0 | y], (1, c, h, w)."""
        return torch.stack([w * part.mean for w, part in zip(self.weights, self.parts, strict=True)]).sum(0)

    @property
    def std(self) -> Tensor:
        """Standard deviation of every pixel, (1, c, h, w)."""
        second = [w * (part.std**2 + part.mean**2) for w, part in zip(self.weights, self.parts, strict=True)]
        return (torch.stack(second).sum(0) - self.mean**2).clamp(min=0).sqrt()

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Exact samples, (count, c, h, w)."""
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        drawn = torch.stack([part.sample(count, generator) for part in self.parts])
        return drawn[chosen, torch.arange(count)]


def posterior(prior: GaussianPrior | MixturePrior, problem: Problem) -> GaussianPosterior | MixturePosterior:
    """The exact posterior of a problem with one measurement. Raises `CompatibilityError` for Poisson noise."""
    if torch.as_tensor(problem.gain).any():
        raise CompatibilityError("with Poisson noise the posterior is not Gaussian, and not known exactly")
    observation = prior.codec.observe(problem)
    if isinstance(prior, MixturePrior):
        return MixturePosterior.of(prior, observation)
    return GaussianPosterior.of(prior, observation)


def effective_operator(observation: Observation) -> LinearOperator:
    """A; without noise, A without the singular values that its pseudo-inverse leaves out (no method can use those)."""
    operator = observation.operator
    if not isinstance(operator, LinearOperator):
        raise CompatibilityError("an exact posterior needs a linear operator")
    if isinstance(operator, Spectral) and float(observation.noise_std[0]) == 0:
        return operator.truncated()
    return operator


def _channelwise(operator: LinearOperator) -> bool:
    if operator.measurement_shape[0] != operator.image_shape[0]:
        return False
    x = torch.zeros(1, *operator.image_shape, dtype=torch.float64)
    x[:, 0] = torch.rand(operator.image_shape[1:], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return not operator(x)[:, 1:].any()


def _columns(prior: GaussianPrior, operator: LinearOperator, chunk: int = 256) -> list[tuple[Tensor, Tensor]]:
    """(A C, A C A^T) of every channel, (m, n) and (m, m)."""
    c, h, w = operator.image_shape
    size = h * w
    parts = []
    for first in range(0, size, chunk):
        unit = torch.zeros(min(chunk, size - first), c, size, dtype=torch.float64)
        unit[torch.arange(len(unit)), :, torch.arange(first, first + len(unit))] = 1
        parts.append(operator(prior.covariance(unit.reshape(-1, c, h, w))).flatten(2))
    a_c = torch.cat(parts).permute(1, 2, 0)  # (c, m, n): column i of channel k is A C e_i
    result: list[tuple[Tensor, Tensor]] = []
    for channel in range(c):
        if channel and torch.equal(prior.spectrum[channel], prior.spectrum[0]) and torch.equal(a_c[channel], a_c[0]):
            result.append(result[0])
            continue
        rows = a_c[channel].reshape(-1, 1, h, w)
        again = torch.cat(
            [operator(part.expand(-1, c, h, w))[:, channel].flatten(1) for part in torch.split(rows, chunk)]
        )
        result.append((a_c[channel], (again + again.T) / 2))
    return result
