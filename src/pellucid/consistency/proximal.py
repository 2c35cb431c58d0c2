"""Proximal consistency: x0 is moved to the compromise between the prior's estimate and the measurement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from pellucid.consistency.base import Consistency
from pellucid.errors import require_range
from pellucid.operators.base import LinearOperator, Operator
from pellucid.operators.tomography import Tomograph
from pellucid.prior.base import Estimate, Prior, State
from pellucid.problem import Observation


@dataclass(frozen=True)
class Proximal(Consistency):
    """x0 <- argmin_x |y - A x|^2 + rho |x - x0|^2 with rho = lam sigma_y^2 / S^2, and eps recomputed.

    DiffPIR (Zhu et al., CVPR-W 2023, eq. 12a-13), S = sigma_t / alpha_t. With a prior of variance v the error of x0
    is not S^2 but S^2 v / (S^2 + v), which is what `data_std` brings in; None is the paper's S.

    Args:
        lam: weight of the prior.
        data_std: sqrt(v) in the prior's units, or None.
        floor: smallest rho: noiseless problems stay solvable; for a sinogram in pixel lengths, whatever its unit.
    """

    lam: float = 1.0
    data_std: float | None = 0.5
    floor: float = 1e-6
    needs: ClassVar[type[Operator]] = LinearOperator

    def __post_init__(self) -> None:
        require_range("lam", self.lam, 0)
        if self.data_std is not None:
            require_range("data_std", self.data_std, 0, above=True)

    def refine(self, estimate: Estimate, state: State, s: Tensor, observation: Observation, prior: Prior) -> Estimate:
        operator, process = observation.operator, prior.process
        assert isinstance(operator, LinearOperator)
        rho = self.lam * noise_level(observation) ** 2 / error_variance(prior, state.t, self.data_std)
        pull = operator.adjoint(observation.residual(estimate.x0))
        length, _ = reading_scale(operator)
        x0 = estimate.x0 + operator.solve_normal(pull, rho.clamp(min=self.floor * length**2))
        return replace(estimate, x0=x0, eps=process.eps(state.x, x0, state.t))


def noise_level(observation: Observation) -> Tensor:
    """One noise standard deviation an image, (b,) float64; Poisson noise enters by its mean variance."""
    return observation.variance.flatten(1).mean(1).sqrt().double().cpu()


def reading_scale(operator: Operator) -> tuple[float, int]:
    """(a pixel's part in a reading, readings that a pixel has a whole part in): (1, 1) but for tomography.

    What is compared with sigma_y is multiplied by the first, so that results do not depend on a sinogram's unit.
    """
    return (operator.length, operator.geometry.angles) if isinstance(operator, Tomograph) else (1.0, 1)


def error_variance(prior: Prior, t: Tensor, data_std: float | None) -> Tensor:
    """Variance of x_0 given x_t: S^2 v / (S^2 + v) for white data of variance v, S^2 for None, S = ratio(t)."""
    s2 = prior.process.ratio(t) ** 2
    return s2 if data_std is None else s2 * data_std**2 / (s2 + data_std**2)
