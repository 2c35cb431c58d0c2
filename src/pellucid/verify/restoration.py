"""Dirac's network as perfect training would leave it: where the data are Gaussian and the degradations linear."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from pellucid.codec import AffineCodec
from pellucid.degradation import Degradation, Geometric
from pellucid.errors import CompatibilityError, NeedsCapability
from pellucid.operators.base import LinearOperator, Operator
from pellucid.operators.families.base import Family
from pellucid.prior.base import Prior
from pellucid.prior.gaussian import GaussianPrior, MixturePrior
from pellucid.problem import Problem

QUIETEST = 5.0  # Dirac's noise falls from 0.05 to 0.01
KEPT = 3  # times whose filters a prior remembers


class GaussianRestoration(Prior):
    """Phi(y, t) = E[x_0 | y_t = y] for x_0 ~ N(m, C) and y_t = A_t x_0 + sigma_t z, A_t linear.

        Phi(y, t) = m + G_t (y - A_t m),    G_t = C A_t^T (A_t C A_t^T + sigma_t^2 I)^{-1}

    by dense linear algebra. Channels are independent, have one covariance, and are degraded alike. By Tweedie's formula
    (A_t Phi - y) / sigma_t^2 is then the score of y_t itself, which Dirac's loss is least for (Fabian, Tinaz and
    Soltanolkotabi, DiracDiffusion, ICML 2024, eq. 10 to 12).

    Args:
        mean: m, (c, h, w) in [0, 1] units.
        covariance: C of one channel, (h w, h w).
        process: A_t and sigma_t.
    """

    process: Degradation

    def __init__(self, mean: Tensor, covariance: Tensor, process: Degradation) -> None:
        self.mean, self.covariance, self.process = mean, covariance, process
        self.codec = AffineCodec(1.0, 0.0, bounded=False)
        self._known: dict[float, tuple[LinearOperator, Tensor]] = {}

    @classmethod
    def of(cls, prior: GaussianPrior, process: Degradation) -> Self:
        """The same data as those of a Gaussian prior whose channels are alike."""
        c, h, w = prior.spectrum.shape
        zero, one = (prior.codec.encode(torch.full((), value, dtype=torch.float64)) for value in (0.0, 1.0))
        units = torch.eye(h * w, dtype=torch.float64).reshape(h * w, 1, h, w)
        columns = prior.covariance(units.expand(-1, c, h, w))[:, 0].flatten(1)
        return cls(prior.codec.decode(prior.mean.expand(c, h, w)), columns / float(one - zero) ** 2, process)

    def matrix(self, t: float) -> Tensor:
        """A_t on one channel, (h w, h w)."""
        return self._through(self._operator(t), torch.eye(len(self.covariance), dtype=torch.float64)).T

    def marginal(self, t: float) -> tuple[Tensor, Tensor]:
        """(A_t m, A_t C A_t^T + sigma_t^2 I): the law of y_t, (c, h w) and (h w, h w)."""
        return self._operator(t)(self.mean[None])[0].flatten(1), self._spread(self._operator(t), t)

    def gain(self, t: float) -> Tensor:
        """G_t, (h w, h w)."""
        operator, factor = self._filter(t)
        return torch.cholesky_solve(self._through(operator, self.covariance).T, factor).T

    def _operator(self, t: float) -> LinearOperator:
        """A_t. Raises `CompatibilityError` where it is not linear, or mixes channels, or treats them differently."""
        operator = self.process.family(tuple(self.mean.shape)).at(t)
        if not isinstance(operator, LinearOperator):
            raise CompatibilityError("the exact restoration is known for linear degradations")
        c = len(self.mean)
        x = torch.rand(1, 1, *self.mean.shape[1:], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        one = torch.cat([x, x.new_zeros(1, c - 1, *x.shape[2:])], dim=1)
        first, alike = operator(one), operator(x.expand(-1, c, -1, -1))
        if first[:, 1:].any() or not torch.allclose(alike, first[:, :1].expand_as(alike), atol=1e-12):
            raise CompatibilityError("the exact restoration is known for degradations that treat all channels alike")
        return operator

    def _through(self, operator: LinearOperator, rows: Tensor) -> Tensor:
        """A r for every row r of (k, h w); the channels of a picture hold as many of them."""
        shape = tuple(self.mean.shape)
        missing = -len(rows) % shape[0]
        stacked = torch.cat([rows, rows.new_zeros(missing, rows.shape[1])]).reshape(-1, *shape)
        return operator(stacked).reshape(-1, rows.shape[1])[: len(rows)]

    def _spread(self, operator: LinearOperator, t: float) -> Tensor:
        """A_t C A_t^T + sigma_t^2 I."""
        c_a = self._through(operator, self.covariance)  # its rows are A C e_i
        variance = float(self.process.sigma(torch.tensor(t, dtype=torch.float64))) ** 2
        spread = self._through(operator, c_a.T.contiguous())
        spread = (spread + spread.T) / 2
        spread.diagonal().add_(variance)
        return spread

    def _filter(self, t: float) -> tuple[LinearOperator, Tensor]:
        """(A_t, the Cholesky factor of A_t C A_t^T + sigma_t^2 I)."""
        if t not in self._known:
            while len(self._known) >= KEPT:
                self._known.pop(next(iter(self._known)))
            operator = self._operator(t)
            self._known[t] = operator, torch.linalg.cholesky(self._spread(operator, t))
        return self._known[t]

    def _denoise(self, x: Tensor, t: Tensor) -> tuple[Tensor, None]:
        times = t.tolist()
        if len(set(times)) > 1:
            return torch.cat([self._denoise(x[i : i + 1], t[i : i + 1])[0] for i in range(len(x))]), None
        operator, factor = self._filter(times[0])
        mean = self.mean[None].to(x)
        rows = (x - operator(mean)).reshape(-1, x[0, 0].numel())
        white = torch.cholesky_solve(rows.T, factor.to(x)).T.reshape(x.shape)
        back = operator.adjoint(white).reshape(rows.shape) @ self.covariance.to(x)
        return mean + back.reshape(x.shape), None


class Fading(Family):
    """A_t = (1 - t) I + t A: from nothing to a given operator, along a straight line.

    Args:
        operator: A, which measures pictures.
    """

    text = "its own operator, by degrees"

    def __init__(self, operator: LinearOperator) -> None:
        super().__init__(operator.image_shape)
        self.operator = operator

    def _at(self, t: Tensor) -> Partly:
        return Partly(self.operator, t)

    def time_of(self, operator: Operator) -> Tensor | None:
        if isinstance(operator, Partly) and operator.operator is self.operator:
            return operator.get_buffer("share").flatten()
        return torch.ones(1, dtype=torch.float64) if operator is self.operator else None


class Partly(LinearOperator):
    """(1 - t) x + t A x.

    Args:
        operator: A, which measures pictures.
        t: a number, or (b,) for one an image.
    """

    def __init__(self, operator: LinearOperator, t: Tensor) -> None:
        super().__init__(operator.image_shape, batch=len(t) if t.ndim else None)
        self.operator = operator
        self.hold("share", t.reshape(-1, 1, 1, 1))

    def _forward(self, x: Tensor) -> Tensor:
        return torch.lerp(x, self.operator(x), self.constant("share", x))

    def _adjoint(self, y: Tensor) -> Tensor:
        return torch.lerp(y, self.operator.adjoint(y), self.constant("share", y))


def restoration(prior: Prior, problem: Problem) -> GaussianRestoration:
    """The exact prior of the process that ends at the problem: at A_1 its operator, at sigma_1 its noise.

    Raises:
        NeedsCapability: the operator is not linear, or does not measure pictures.
        CompatibilityError: the data are not Gaussian, or nothing of the measurement is noise.
    """
    operator, loudest = problem.operator, float(problem.std.max())
    if not isinstance(prior, GaussianPrior):
        kind = "a mixture" if isinstance(prior, MixturePrior) else type(prior).__name__
        raise CompatibilityError(f"Dirac's exact prior is known for Gaussian data, not for {kind}")
    if not isinstance(operator, LinearOperator) or operator.measurement_shape != operator.image_shape:
        raise NeedsCapability(f"dirac runs degradations of pictures back, and {type(operator).__name__} makes none")
    if loudest == 0:
        raise CompatibilityError("dirac's process ends at the measurement's noise, and here is none: give some")
    process = Degradation(Fading(operator), Geometric(loudest / QUIETEST, loudest))
    return GaussianRestoration.of(prior, process)
