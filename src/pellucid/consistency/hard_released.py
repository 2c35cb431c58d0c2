"""ReSample as its authors' code runs it, where that differs from the paper."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pellucid.consistency.base import Consistency
from pellucid.consistency.hard import HardConsistency, problem_of
from pellucid.errors import require_range
from pellucid.noise import Noise
from pellucid.optimise.misfit import LatentMisfit, value_and_gradient
from pellucid.prior.base import Prior, State
from pellucid.prior.lookahead import further
from pellucid.problem import Observation
from pellucid.process import Process
from pellucid.step import Step
from pellucid.typing import expand


def pseudo_estimate(process: Process, x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """(x_t - sigma_t^2 eps) / alpha_t, where Tweedie's formula has sigma_t: eps is used as if it were the score.

    While sigma_t < 1 too little noise is taken off, so that the "estimate" is noisier than E[x_0 | x_t].
    """
    return (x - expand(process.sigma(t) ** 2, x) * eps) / expand(process.alpha(t), x)


@dataclass(frozen=True)
class DecoderGuidance(Consistency):
    """x_s <- x_s - scale alpha_t^2 grad_{x_t} |y - A(D(pseudo_estimate))|, with eps held constant.

    Latent-DPS of the released ReSample: the gradient goes through the decoder, not through the network, the configured
    scale is ignored, and the norm is taken in the range [-1, 1].

    Args:
        scale: 0.5 in the code.
    """

    scale: float = 0.5

    def __post_init__(self) -> None:
        require_range("scale", self.scale, 0)

    def gradients(self, steps: int) -> int:
        return steps

    def correct(self, step: Step, observation: Observation, prior: Prior, noise: Noise) -> Tensor:
        process, t = prior.process, step.state.t
        pseudo = pseudo_estimate(process, step.state.x, step.raw.eps, t)
        misfit = LatentMisfit(problem_of(observation), prior.codec)
        value, gradient = value_and_gradient(misfit, pseudo)
        entries = observation.y[0].numel()
        length = (entries * value).sqrt().clamp(min=1e-30)  # grad |r| = m grad(|r|^2 / m) / (2 |r|)
        weight = self.scale * process.alpha(t).to(value) * entries / (2 * length)
        return step.x_s - expand(weight, gradient) * gradient


@dataclass(frozen=True)
class ReleasedHardConsistency(HardConsistency):
    """`HardConsistency` with the released code's estimate and its look-ahead.

    Both use `pseudo_estimate`. The look-ahead asks the network at the times that come next, but steps with the
    coefficients of the step before: what should go from s to the time after it goes from t to s once more.
    """

    def look(self, step: Step, prior: Prior) -> Tensor:
        process, x = prior.process, step.x_s
        before, here = step.state.t, step.s
        pitch = process.pace(before) - process.pace(here)
        pseudo = pseudo_estimate(process, step.state.x, step.raw.eps, before)
        for _ in range(self.lookahead):
            eps = prior.estimate(State(x, here, step.state.index, step.images)).eps
            pseudo = pseudo_estimate(process, x, eps, before)
            x0 = (x - expand(process.sigma(before), x) * eps) / expand(process.alpha(before), x)
            x = process.diffuse(x0, here, eps)
            before, here = here, further(process, here, pitch)
        return pseudo
