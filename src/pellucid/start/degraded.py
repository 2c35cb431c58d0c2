"""Dirac's start: the measurement itself, taken to where the degradation process passes it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.degradation import Degradation
from pellucid.errors import CompatibilityError
from pellucid.noise import Noise
from pellucid.operators.base import Operator, Spectral
from pellucid.operators.each import Each
from pellucid.operators.families.base import Family
from pellucid.operators.unknown import Unknown
from pellucid.prior.base import Prior, State
from pellucid.problem import Observation, Problem
from pellucid.start.base import Start
from pellucid.typing import Shape, expand

SLACK = 1.05  # by which a measurement may be noisier than the end of the path


@dataclass(frozen=True)
class Measured(Start):
    """y_t* = A_{s->t*}(y) + n at the smallest t* at which the path is as degraded and as noisy as y.

    s is the time at which A_s is the problem's operator, or no less severe; where nobody knows the operator, the
    prior's head tells s from y. t* is the larger of s and the time of y's noise. Noise is added until y_t* has that of
    the path, sigma_t*^2 I: where y had to be degraded further, its own noise has become A A^T sigma_y^2, and the rest
    is drawn with the covariance that is missing. At s = t* = 1 with noise sigma_1, y is taken as it is: the paper's
    start (Fabian, Tinaz and Soltanolkotabi, ICML 2024, Algorithm 1).

    A measurement that is quiet for its degradation costs nothing but noise; one that is noisy for it has to be degraded
    further, which loses what it still showed: a warning says how much.
    """

    def check(self, problem: Problem, prior: Prior) -> None:
        """Raises `CompatibilityError`: the measurement is not on the prior's path, or more degraded than its end."""
        process, operator = prior.process, problem.operator
        if not isinstance(process, Degradation):
            return  # said by the transition
        if torch.as_tensor(problem.gain).any():
            raise CompatibilityError("dirac knows Gaussian noise only; with photon noise take dps")
        own = process.family(operator.image_shape)
        if is_unknown(operator):
            _require_picture(operator)
            if getattr(prior, "_severity", None) is None:
                raise CompatibilityError("this dirac prior has no head that tells how strong a degradation is; name it")
            _require_quiet(process, problem.std)
            return
        s = own.time_of(operator)
        if s is None:
            raise CompatibilityError(
                f"this dirac prior undoes {own.text}, and the operator given is another degradation "
                f"({type(operator).__name__}); take a dirac prior trained on it, or another method (dps, ddnm+)"
            )
        if bool((s > 1).any()):
            raise CompatibilityError(
                f"the degradation is stronger than the strongest that this dirac prior was trained on ({own.text}); "
                f"take another method (dps, ddnm+)"
            )
        level = shown(own, operator, problem.y, problem.std)[1]
        _require_quiet(process, level)
        if bool((torch.maximum(s, process.time_at_ratio(level.cpu())) <= 0).any()):
            raise CompatibilityError(
                f"there is nothing to undo: the measurement is no more degraded, and no noisier, than the beginning of "
                f"this dirac prior's path ({own.text}, noise {float(process.sigma(torch.zeros(1))):g})"
            )

    def __call__(self, observation: Observation, prior: Prior, noise: Noise, top: Tensor) -> State:
        process, problem = prior.process, observation.problem
        assert isinstance(process, Degradation) and problem is not None
        operator = problem.operator
        own = process.family(operator.image_shape)
        y, level = shown(own, operator, observation.y, observation.noise_std)
        s = severity(own, operator, y, prior).expand(len(y)).clamp(max=1)
        t = torch.maximum(s, process.time_at_ratio(level.cpu())).minimum(top)
        further = t > s + 1e-9
        missing = (process.sigma(t) ** 2 - level.cpu() ** 2).clamp(min=0).sqrt()
        if not missing.any() and not further.any():
            return State(y, t)
        z = noise.normal(y, 0, "start")
        x = y + expand(missing, y) * z
        if further.any():
            path = (s, t, process.sigma(t), level.cpu())
            x = torch.where(_pixels(further, y), self._degraded(own, y, z, further, *path), x)
        return State(x, t)

    def _degraded(
        self, own: Family, y: Tensor, z: Tensor, which: Tensor, s: Tensor, t: Tensor, sigma: Tensor, level: Tensor
    ) -> Tensor:
        """A_{s->t}(y) with the noise that is missing there; a warning says it of the images that are `which`."""
        carry = own.transition(s, t)
        if carry is None:
            warnings.warn(
                "the measurement is noisier than the path is where it is as degraded, and this family cannot be "
                "degraded further; some of its noise will be taken for picture",
                stacklevel=2,
            )
            return y
        x = carry(y)
        lost = (x - y).square().flatten(1).mean(1).sqrt().cpu()[which]
        worst = int(lost.argmax())
        warnings.warn(
            f"the measurement is noisier than the path is where it is as degraded (t = {float(s[which][worst]):.3g}); "
            f"it is degraded further, to t = {float(t[which][worst]):.3g}, which changes it by {float(lost.max()):.3g} "
            f"(rms, of 1)",
            stacklevel=2,
        )
        if not isinstance(carry, Spectral):  # a change of scale, whose gain any picture tells
            gain = (carry(z) - carry(torch.zeros_like(z))).flatten(1).norm(dim=1) / z.flatten(1).norm(dim=1)
            left = (level * gain.double().cpu()).square()
            return x + expand((sigma**2 - left).clamp(min=0).sqrt(), y) * z
        gone = expand(level**2, y) * carry.singular_values(y) ** 2
        scale = (expand(sigma**2, y) - gone).clamp(min=0).sqrt()
        return x + carry.spectrum_to_measured(scale * carry.measured_to_spectrum(z))


def is_unknown(operator: Operator) -> bool:
    """Whether nobody knows the operator of any image of the batch."""
    return all(map(is_unknown, operator.parts)) if isinstance(operator, Each) else isinstance(operator, Unknown)


def severity(own: Family, operator: Operator, y: Tensor, prior: Prior) -> Tensor:
    """s, (1,) or (b,): the time at which the family is the operator; told by the prior where nobody knows it."""
    if is_unknown(operator):
        tell = getattr(prior, "severity", None)
        assert tell is not None
        told: Tensor = tell(y)
        return told
    s = own.time_of(operator)
    assert s is not None
    return s


def shown(own: Family, operator: Operator, y: Tensor, noise_std: Tensor) -> tuple[Tensor, Tensor]:
    """(y as a picture, the standard deviation of its noise (b,)): itself, or what the family makes of it."""
    if tuple(operator.measurement_shape) == tuple(operator.image_shape):
        return y, noise_std
    picture, gain = own.shown(operator, y)
    return picture, gain * noise_std


def _pixels(chosen: Tensor, like: Tensor) -> Tensor:
    return chosen.to(like.device).reshape(-1, *(1,) * (like.ndim - 1))


def _require_quiet(process: Degradation, level: Tensor) -> None:
    loudest = float(process.sigma(torch.ones(1, dtype=torch.float64)))
    if bool((level > SLACK * loudest).any()):
        raise CompatibilityError(
            f"the measurement's noise {float(level.max()):.4g} is more than the {loudest:g} that this dirac "
            f"prior was trained with; take a prior trained with more, or another method (dps, ddnm+)"
        )


def _require_picture(operator: Operator) -> None:
    shape: Shape = tuple(operator.measurement_shape)
    if shape != tuple(operator.image_shape):
        raise CompatibilityError(f"a measurement of shape {shape} is no picture; name the operator that made it")
