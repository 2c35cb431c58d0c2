"""Optimisation without diffusion: plug-and-play ADMM and total variation. Their answer is a start at time 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pellucid.consistency.proximal import noise_level, reading_scale
from pellucid.errors import require_range
from pellucid.noise import Noise
from pellucid.operators.base import LinearOperator, Operator
from pellucid.operators.solve import conjugate_gradients
from pellucid.prior.base import Prior, State
from pellucid.problem import Observation
from pellucid.start.base import Start
from pellucid.typing import expand


@dataclass(frozen=True)
class PlugAndPlay(Start):
    """min |y - A x|^2 / (2 sigma_y^2) + g(x) by ADMM, the proximal map of g being the prior's denoiser.

        x <- argmin |y - A x|^2 / (2 sigma_y^2) + |x - (v - u)|^2 / (2 sigma_d^2)
        v <- E[x_0 | x_0 + sigma_d n = x + u]
        u <- u + x - v

    Venkatakrishnan et al., GlobalSIP 2013. With a Gaussian prior the fixed point is the posterior mean, whatever
    sigma_d.

    Args:
        iterations: network calls.
        sigma_d: the last denoiser level, in the prior's units.
        sigma_first: the first one; the levels fall geometrically over the first half of the iterations.
        floor: smallest sigma_y that is believed; of a sinogram in pixel lengths, whatever its unit.
        inner: conjugate gradients in every iteration, at most, for operators without structure to invert by. They begin
            at v - u, which is the solution already in all directions that A does not see.
    """

    iterations: int = 30
    sigma_d: float = 0.1
    sigma_first: float = 0.5
    floor: float = 0.01
    inner: int = 50
    needs: ClassVar[type[Operator]] = LinearOperator

    def __post_init__(self) -> None:
        require_range("nfe", self.iterations, 1)
        require_range("sigma_d", self.sigma_d, 0, above=True)
        require_range("sigma_first", self.sigma_first, 0, above=True)

    def levels(self) -> Tensor:
        """sigma_d of every iteration."""
        share = (torch.arange(self.iterations, dtype=torch.float64) / max(self.iterations // 2, 1)).clamp(max=1)
        return self.sigma_first * (self.sigma_d / self.sigma_first) ** share

    def __call__(self, observation: Observation, prior: Prior, noise: Noise, top: Tensor) -> State:
        operator, process = observation.operator, prior.process
        assert isinstance(operator, LinearOperator)
        length, _ = reading_scale(operator)
        level, back = noise_level(observation).clamp(min=self.floor * length), operator.adjoint(observation.y)
        v = operator.pinv(observation.y)
        u = torch.zeros_like(v)
        previous = self.levels()[0]
        for index, sigma_d in enumerate(self.levels()):
            u, previous = u * (sigma_d / previous) ** 2, sigma_d  # u is scaled by the penalty 1 / sigma_d^2
            weight = level**2 / sigma_d**2
            x = self._nearest(operator, v - u, back, weight)
            t = process.time_at_ratio(torch.full_like(top, float(sigma_d)))
            v = prior.estimate(State(expand(process.alpha(t), x) * (x + u), t, index)).x0
            u = u + x - v
        return State(v, torch.zeros_like(top))

    def _nearest(self, operator: LinearOperator, near: Tensor, back: Tensor, weight: Tensor) -> Tensor:
        """(A^T A + weight I)^{-1} (A^T y + weight near), `back` being A^T y."""
        w = expand(weight, near)
        if not operator.iterative_pinv:
            return operator.solve_normal(back + w * near, weight)

        def normal(p: Tensor) -> Tensor:
            return operator.adjoint(operator(p)) + w * p

        pull = back - operator.adjoint(operator(near))
        return near + conjugate_gradients(normal, pull, iterations=self.inner)


@dataclass(frozen=True)
class TotalVariation(Start):
    """min |y - A x|^2 / 2 + lam |D x|_{2,1} by ADMM, D the forward differences, |.|_{2,1} over their two directions.

        x <- (A^T A + rho D^T D)^{-1} (A^T y + rho D^T (w - u))      by conjugate gradients
        w <- shrink(D x + u, lam / rho),  u <- u + D x - w

    Args:
        iterations: of ADMM.
        lam: weight of the variation, in the prior's units; None: `per_noise` sigma_y + 1e-4. For a sinogram, sigma_y
            counts in pixel lengths and the weight is multiplied by the number of views, the square of what they see of
            a pixel: it does not depend on the sinogram's unit.
        rho: the penalty, as a multiple of lam.
        per_noise: weight per noise level; proportional to sigma_y, since lam bounds how far the residual may go.
    """

    iterations: int = 60
    lam: float | None = None
    rho: float = 3.0
    per_noise: float = 0.2
    needs: ClassVar[type[Operator]] = LinearOperator

    def __post_init__(self) -> None:
        require_range("iterations", self.iterations, 1)
        require_range("rho", self.rho, 0, above=True)
        if self.lam is not None:
            require_range("lam", self.lam, 0, above=True)

    def __call__(self, observation: Observation, prior: Prior, noise: Noise, top: Tensor) -> State:
        operator = observation.operator
        assert isinstance(operator, LinearOperator)
        level = noise_level(observation)
        length, views = reading_scale(operator)
        lam = torch.full_like(level, self.lam) if self.lam is not None else self.per_noise * level / length + 1e-4
        lam = views * length**2 * lam
        rho = expand(self.rho * lam, observation.y)
        back = operator.adjoint(observation.y)
        x = operator.pinv(observation.y)
        w, u = differences(x), torch.zeros_like(differences(x))
        normal = _normal(operator, rho)
        for _ in range(self.iterations):
            rhs = back + rho * differences_adjoint(w - u)
            x = x + conjugate_gradients(normal, rhs - normal(x), tolerance=1e-3, iterations=20)
            d = differences(x)
            w = shrink(d + u, 1 / self.rho)
            u = u + d - w
        return State(x, torch.zeros_like(top))


def differences(x: Tensor) -> Tensor:
    """D x: forward differences down and right, (b, c, h, w) -> (b, 2, c, h, w); zero at the far edge."""
    down, right = torch.zeros_like(x), torch.zeros_like(x)
    down[..., :-1, :] = x[..., 1:, :] - x[..., :-1, :]
    right[..., :-1] = x[..., 1:] - x[..., :-1]
    return torch.stack([down, right], dim=1)


def differences_adjoint(d: Tensor) -> Tensor:
    """D^T d: (b, 2, c, h, w) -> (b, c, h, w)."""
    out = torch.zeros_like(d[:, 0])
    out[..., 1:, :] += d[:, 0, ..., :-1, :]
    out[..., :-1, :] -= d[:, 0, ..., :-1, :]
    out[..., 1:] += d[:, 1, ..., :-1]
    out[..., :-1] -= d[:, 1, ..., :-1]
    return out


def shrink(d: Tensor, threshold: float) -> Tensor:
    """The proximal map of threshold |.|_{2,1}: every pixel's difference vector shortened by threshold."""
    length = torch.linalg.vector_norm(d, dim=1, keepdim=True)
    return d * (1 - threshold / length.clamp(min=torch.finfo(d.dtype).tiny)).clamp(min=0)


def _normal(operator: LinearOperator, rho: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: operator.adjoint(operator(x)) + rho * differences_adjoint(differences(x))
