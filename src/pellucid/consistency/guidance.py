"""Guidance: the iterate follows a gradient of the likelihood. Norms are per image, never over the batch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pellucid.consistency.base import Consistency
from pellucid.consistency.proximal import error_variance, noise_level, reading_scale
from pellucid.consistency.spectral import spectral
from pellucid.errors import CompatibilityError, require_range
from pellucid.noise import Noise
from pellucid.operators.base import LinearOperator, Operator, Spectral
from pellucid.prior.base import Estimate, Prior, State
from pellucid.problem import Observation
from pellucid.step import Step
from pellucid.transition import score_shift
from pellucid.typing import dot, expand

Rule = Literal["likelihood", "paper", "released"]


@dataclass(frozen=True)
class PosteriorGuidance(Consistency):
    """DPS: x_s <- x_s - zeta_t grad_{x_t} |y - A(x0(x_t))|^2 (Chung et al., ICLR 2023, Algorithm 1).

    Rules for zeta_t, r = y - A(x0), m entries in y:

        "likelihood"  scale min((alpha_s / alpha_t) beta / (2 v), |r|^2 / |grad|^2), v = max(|r|^2 / m, sigma_y^2)
        "paper"       scale / |r|                      zeta' of the paper, scale about 1
        "released"    scale / (2 |r|)                  the code differentiates |r|, not |r|^2

    The last two move by the same length whatever the size of the picture and the noise. The first is DDPM's shift for a
    Gaussian likelihood whose variance v is what r says it is (the maximum-likelihood value), which counts the error of
    x0 beside the noise; it has no unit and no constant to tune. It is bounded by half the step at which |r|^2 is least
    if A x0(x_t) curves the same in all directions: without that, coarse grids diverge, and with the whole step they
    still do where A curves as unevenly as a wide blur and x0 is a network's. With Poisson noise every entry of
    the residual is weighed by its own precision.

    Args:
        scale: see above.
        rule: see above.
    """

    scale: float = 1.0
    rule: Rule = "likelihood"
    needs_vjp: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        if self.rule not in ("likelihood", "paper", "released"):
            raise CompatibilityError(f"rule must be likelihood, paper or released, not {self.rule!r}")
        require_range("scale", self.scale, 0)

    def correct(self, step: Step, observation: Observation, prior: Prior, noise: Noise) -> Tensor:
        size, level, gradient = squared_error_gradient(step.raw, observation)
        return step.x_s - expand(self.zeta(step, observation, prior, size, level, gradient), gradient) * gradient

    def zeta(
        self, step: Step, observation: Observation, prior: Prior, size: Tensor, level: Tensor, gradient: Tensor
    ) -> Tensor:
        """zeta_t, (b,); `size` is |r|^2, `level` the variance of the noise in it per entry, `gradient` its gradient."""
        if self.rule != "likelihood":
            half = 0.5 if self.rule == "released" else 1.0
            return half * self.scale / size.sqrt().clamp(min=torch.finfo(size.dtype).tiny)
        entries = observation.y[0].numel()
        v = torch.maximum(size / entries, level).double().cpu()
        own = score_shift(prior.process, step.state.t, step.s) / (2 * v)
        slope = dot(gradient, gradient).double().cpu().clamp(min=torch.finfo(torch.float64).tiny)
        return self.scale * torch.minimum(own, size.double().cpu() / slope)


def squared_error_gradient(estimate: Estimate, observation: Observation) -> tuple[Tensor, Tensor, Tensor]:
    """(|r|^2, variance of its noise per entry, grad_{x_t} |r|^2), (b,), (b,) and (b, ...), with r = y - A(x0).

    Under Poisson noise every entry is weighed by its precision at A(x0), relative to the mean precision of the image.
    """
    assert estimate.vjp is not None
    with torch.enable_grad():
        x0 = estimate.x0.detach().requires_grad_()
        r = observation.residual(x0)
        variance = observation.variance_at((observation.y - r).detach())
        level = harmonic_mean(variance)
        weight = 1 if observation.gain is None else expand(level, variance) / variance
        size = (weight * r.square()).flatten(1).sum(1)
        (gradient,) = torch.autograd.grad(size.sum(), x0)
    return size.detach(), level.to(size), estimate.vjp(gradient)


def harmonic_mean(variance: Tensor) -> Tensor:
    """1 / mean(1 / variance) of every image, (b,); 0 where some variance is 0."""
    tiny = torch.finfo(variance.dtype).tiny
    return 1 / variance.clamp(min=tiny).reciprocal().flatten(1).mean(1) * (variance.flatten(1).amin(1) > 0)


@dataclass(frozen=True)
class PseudoinverseGuidance(Consistency):
    """PiGDM: the score gains g = J^T A^T (r^2 A A^T + sigma_y^2 I)^{-1} (y - A x0), J = d x0 / d x_t.

    Song et al., ICLR 2023, eq. (7) to (9). x0 <- x0 + (sigma_t^2 / alpha_t) g and eps <- eps - sigma_t g, the
    posterior's estimate for white data of standard deviation `data_std`: exact there. r^2 = S^2 v / (S^2 + v),
    v = data_std^2, S = sigma_t / alpha_t; data_std = 1 is the paper's.

    Where the data vary more than `data_std` in some direction, g overshoots there; the step along it is then cut to
    the one with the least residual (for white data that never happens).

    A network's Jacobian is not that of an exact prior, and sigma_t^2 / alpha_t blows its errors up where noise is
    loud: x0 is held to the prior's bounds, if it has any.

    Args:
        data_std: of the data, in the prior's units.
        bounded: cut overshoots and hold x0 to the prior's bounds; False is the formula alone.
    """

    data_std: float = 0.5
    bounded: bool = True
    needs: ClassVar[type[Operator]] = LinearOperator
    needs_vjp: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        require_range("data_std", self.data_std, 0, above=True)

    def refine(self, estimate: Estimate, state: State, s: Tensor, observation: Observation, prior: Prior) -> Estimate:
        operator, process = observation.operator, prior.process
        assert isinstance(operator, LinearOperator) and estimate.vjp is not None
        r2 = error_variance(prior, state.t, self.data_std)
        weight = (noise_level(observation) ** 2 / r2).clamp(min=1e-8 * reading_scale(operator)[0] ** 2)
        pull = operator.solve_normal(operator.adjoint(observation.residual(estimate.x0)), weight)
        g = estimate.vjp(pull / expand(r2, pull))
        alpha, sigma = expand(process.alpha(state.t), g), expand(process.sigma(state.t), g)
        shift = sigma**2 / alpha * g
        share = expand(_useful_share(observation, estimate.x0, shift), g) if self.bounded else 1.0
        guided = replace(estimate, x0=estimate.x0 + share * shift, eps=estimate.eps - share * sigma * g)
        if prior.codec.bounds is None or not self.bounded:
            return guided
        return guided.clipped(prior.codec.bounds, state, process, "recompute")


def _useful_share(observation: Observation, x0: Tensor, shift: Tensor) -> Tensor:
    """min(1, argmin_c |y - A(x0 + c shift)|), per image: no step beyond where the residual is least along it, (b,)."""
    residual = observation.residual(x0)
    change = observation.operator(x0 + shift) - observation.operator(x0)
    length = dot(change, change)
    return torch.where(length > 0, dot(residual, change) / torch.where(length > 0, length, 1), 1).clamp(0, 1)


@dataclass(frozen=True)
class NoisePerturbedGuidance(Consistency):
    """DMPS: the likelihood of x_t itself, for a prior that says nothing (Meng and Kabashima, 2022, eq. 13 and Alg. 1).

        g = (1 / alpha_t) V S (s^2 sigma_t^2 / alpha_t^2 + sigma_y^2)^{-1} U^T (y - A x / alpha_t)
        x_s <- x_s + scale c g

    with c = (alpha_s / alpha_t) beta, DDPM's shift. No gradient through the network.

    Args:
        scale: lambda of the paper, 1.75 there.
        at: the point that g is taken at: "x_s", after DDPM's step, as the paper's algorithm has it, or "x_t".
    """

    scale: float = 1.75
    at: Literal["x_s", "x_t"] = "x_s"
    needs: ClassVar[type[Operator]] = Spectral

    def __post_init__(self) -> None:
        require_range("scale", self.scale, 0)
        if self.at not in ("x_s", "x_t"):
            raise CompatibilityError(f"at must be x_s or x_t, not {self.at!r}")

    def correct(self, step: Step, observation: Observation, prior: Prior, noise: Noise) -> Tensor:
        operator, process, t = spectral(observation), prior.process, step.state.t
        x = step.x_s if self.at == "x_s" else step.state.x
        alpha = expand(process.alpha(t), x)
        ratio = process.ratio(t) ** 2
        residual = operator.adjoint(observation.residual(x / alpha))
        weight = (noise_level(observation) ** 2 / ratio).clamp(min=1e-8)
        g = operator.solve_normal(residual, weight) / (alpha * expand(ratio, x))
        return step.x_s + expand(self.scale * score_shift(process, t, step.s), g) * g


@dataclass(frozen=True)
class ManifoldConstraint(Consistency):
    """MCG: DPS's gradient, then the measured part of x_s is replaced by y noised.

    Chung et al., Improving Diffusion Models for Inverse Problems using Manifold Constraints, NeurIPS 2022, eq. (14) and
    (15).

    Args:
        guidance: the gradient step.
        replacement: what follows it.
    """

    guidance: PosteriorGuidance
    replacement: Consistency
    needs: ClassVar[type[Operator]] = LinearOperator
    needs_vjp: bool = field(default=True, init=False)

    def correct(self, step: Step, observation: Observation, prior: Prior, noise: Noise) -> Tensor:
        guided = step.moved(self.guidance.correct(step, observation, prior, noise))
        return self.replacement.correct(guided, observation, prior, noise)
