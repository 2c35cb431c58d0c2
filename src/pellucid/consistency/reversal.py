"""Dirac's guidance: the score gains the gradient of the data error."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from pellucid.consistency.base import Consistency
from pellucid.consistency.guidance import squared_error_gradient
from pellucid.errors import CompatibilityError, require_range
from pellucid.noise import Noise
from pellucid.prior.base import Prior
from pellucid.problem import Observation
from pellucid.step import Step
from pellucid.typing import expand


@dataclass(frozen=True)
class ReversalGuidance(Consistency):
    """x_s <- x_s - (sigma_t^2 - sigma_s^2) eta_t grad_{y_t} |y - A(Phi(y_t))|^2, through the network.

    Fabian, Tinaz and Soltanolkotabi, DiracDiffusion, ICML 2024, eq. (17) and (26). eta_t is

        "std"      eta / (2 sigma_y^2)              sigma_y the measurement's noise, not below the path's least
        "error"    eta / |y - A(Phi(y_t))|

    The published code has the other sign: it climbs the error (METHODS 1.6a). At eta = 0.5 and their other settings a
    step changes little either way.

    Args:
        eta: the step size, in pictures' units [0, 1].
        scaling: see above.
        released: the published code's sign.
    """

    eta: float = 0.5
    scaling: str = "std"
    released: bool = False
    needs_vjp: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        require_range("eta", self.eta, 0)
        if self.scaling not in ("std", "error"):
            raise CompatibilityError(f"scaling must be std or error, not {self.scaling!r}")

    def correct(self, step: Step, observation: Observation, prior: Prior, noise: Noise) -> Tensor:
        size, _, gradient = squared_error_gradient(step.raw, observation)
        process = prior.process
        if self.scaling == "error":
            rate = self.eta / size.double().cpu().sqrt().clamp(min=torch.finfo(torch.float64).tiny)
        else:
            least = float(process.sigma(torch.zeros(1, dtype=torch.float64)))
            rate = 0.5 * self.eta / observation.noise_std.double().cpu().clamp(min=least) ** 2
        weight = (process.sigma(step.state.t) ** 2 - process.sigma(step.s) ** 2).clamp(min=0) * rate
        return step.x_s + (1 if self.released else -1) * expand(weight, gradient) * gradient
