"""Back-projection: the part of x0 that the measurement determines is replaced, the rest is the prior's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import Tensor

from pellucid.consistency.base import Consistency
from pellucid.consistency.proximal import noise_level
from pellucid.errors import CompatibilityError
from pellucid.noise import Noise
from pellucid.operators.base import LinearOperator, Operator, Spectral
from pellucid.operators.mask import Mask
from pellucid.prior.base import Estimate, Prior, State
from pellucid.problem import Observation
from pellucid.step import Step
from pellucid.typing import expand


@dataclass(frozen=True)
class BackProjection(Consistency):
    """x0 <- x0 - A^+ (A x0 - y), so that A x0 = y (noiseless); eps stays the network's.

    DDNM, eq. (13) (Wang et al., ICLR 2023); SSD, eq. (17).
    """

    needs: ClassVar[type[Operator]] = LinearOperator

    def refine(self, estimate: Estimate, state: State, s: Tensor, observation: Observation, prior: Prior) -> Estimate:
        operator, x0 = observation.operator, estimate.x0
        assert isinstance(operator, LinearOperator)
        if isinstance(operator, Spectral):  # V (1 / s U^T y - V^T x0) on the kept directions: half the changes of basis
            measured = operator.inverse_singular_values(x0) * observation.spectrum
            change = operator.kept(x0) * (measured - operator.to_spectrum(x0))
            return replace(estimate, x0=x0 + operator.from_spectrum(change))
        return replace(estimate, x0=x0 + operator.pinv(observation.residual(x0)))


@dataclass(frozen=True)
class QuietBackProjection(Consistency):
    """Back-projection that lets go of a direction once x_t is quieter than the measurement is there.

    With a known spectrum, direction by direction: V^T x0 <- (1 / s) U^T y where sigma_y / s < factor sigma_t /
    alpha_t. For other linear operators, all of x0 at once, while sigma_y < factor sigma_t / alpha_t. The paper's SSD+
    lets go of everything at a fixed time; this is its idea with the time taken from the noise.

    Args:
        factor: how much quieter x_t must be: below 1 lets go sooner.
    """

    factor: float = 1
    needs: ClassVar[type[Operator]] = LinearOperator

    def refine(self, estimate: Estimate, state: State, s: Tensor, observation: Observation, prior: Prior) -> Estimate:
        operator, x0 = observation.operator, estimate.x0
        assert isinstance(operator, LinearOperator)
        level = self.factor * prior.process.ratio(state.t)
        if isinstance(operator, Spectral):
            inverse = operator.inverse_singular_values(x0)
            carried = expand(noise_level(observation), inverse) * inverse
            held = operator.kept(x0) & (carried < expand(level, inverse))
            change = held * (inverse * observation.spectrum - operator.to_spectrum(x0))
            return replace(estimate, x0=x0 + operator.from_spectrum(change))
        whole = expand((noise_level(observation) < level).double(), x0)
        return replace(estimate, x0=x0 + whole * operator.pinv(observation.residual(x0)))


@dataclass(frozen=True)
class Replacement(Consistency):
    """x_s <- (I - A^+ A) x_s + A^+ (alpha_s y) + sigma_s A^+ A z': the measured part is y itself, noised to time s.

    CCDF's projection (Chung et al., CVPR 2022, eq. 14).

    Args:
        level: "s" noises y to the time of x_s; "t", as in MCG's code, to the time that the step came from.
    """

    level: Literal["s", "t"] = "s"
    needs: ClassVar[type[Operator]] = LinearOperator

    def __post_init__(self) -> None:
        if self.level not in ("s", "t"):
            raise CompatibilityError(f"level must be s or t, not {self.level!r}")

    def correct(self, step: Step, observation: Observation, prior: Prior, noise: Noise) -> Tensor:
        operator, process = observation.operator, prior.process
        assert isinstance(operator, LinearOperator)
        time = step.s if self.level == "s" else step.state.t
        z = noise.normal(step.x_s, step.state.index, "measurement")
        noised = expand(process.sigma(time), z) * z - step.x_s
        measured = expand(process.alpha(time), observation.y) * observation.y + operator(noised)
        return step.x_s + operator.pinv(measured)


@dataclass(frozen=True)
class MaskReplacement(Replacement):
    """Replacement for masks, where it is RePaint's eq. (8) (Lugmayr et al., CVPR 2022)."""

    needs: ClassVar[type[Operator]] = Mask
