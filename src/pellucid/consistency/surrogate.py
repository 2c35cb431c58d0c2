"""ADIR's guidance: the measurement is carried up to the iterate's noise level and compared there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pellucid.consistency.base import Consistency
from pellucid.consistency.proximal import noise_level
from pellucid.errors import CompatibilityError, require_range
from pellucid.noise import Noise
from pellucid.operators.base import LinearOperator, Operator
from pellucid.prior.base import Prior
from pellucid.problem import Observation
from pellucid.step import Step
from pellucid.transition import Transition
from pellucid.typing import expand

Form = Literal["surrogate", "autograd", "naive"]
Rule = Literal["bounded", "paper"]


@dataclass(frozen=True)
class SurrogateGuidance(Consistency):
    """ADIR: x_s = mu + s Sigma g + sqrt(Sigma) z (Abu-Hussein, Tirer and Giryes, ADIR, eq. 9), with Sigma = nu^2.

    Forms of g, at the mean mu of the step from t to s:

        "surrogate"   -2 A^T (A mu - y_s),   y_s = alpha_s y + kappa A eps          eq. (15), (16)
        "naive"       -2 A^T (A mu - y)                                             x0 taken for x_t
        "autograd"    -grad_{x_t} |A x0(x_t) - y|^2, through the network             eq. (14)

    eps is the network's at (x_t, t) and counts as a constant, so that the first two cost no gradient of the network.

    Rules for the step s Sigma:

        "bounded"   scale min(1 / (2 |A|^2), Sigma / (2 sigma_y^2))
        "paper"     scale Sigma                    the formula as it stands, which knows no noise level

    The first bound is the step at which |A mu - y_s|^2 is least along the directions that A measures best; larger ones
    swing, and beyond 1 / |A|^2 they grow. The second is the likelihood's own. Both are of the operator's kind: they
    hold for any grid and noise, Sigma = 0 in the last step included, into which a noiseless y is then taken whole.

    Args:
        scale: see above.
        rule: see above.
        form: see above.
        carried: kappa: "mean", the share k of eps that the mean of this step carries, so that a mean that is consistent
            with y is left alone on any grid; or "paper", sigma_s, to which k comes close where steps are small.
    """

    scale: float = 1.0
    rule: Rule = "bounded"
    form: Form = "surrogate"
    carried: Literal["mean", "paper"] = "mean"
    needs: ClassVar[type[Operator]] = LinearOperator

    def __post_init__(self) -> None:
        require_range("scale", self.scale, 0)
        for name, words in (
            ("rule", ("bounded", "paper")),
            ("form", ("surrogate", "naive", "autograd")),
            ("carried", ("mean", "paper")),
        ):
            if getattr(self, name) not in words:
                raise CompatibilityError(f"{name} must be one of {', '.join(words)}, not {getattr(self, name)!r}")
        object.__setattr__(self, "needs_vjp", self.form == "autograd")

    def check_transition(self, transition: Transition) -> None:
        """Raises `CompatibilityError` for steps without noise, whose guidance would be none."""
        if getattr(transition, "eta", None) == 0:
            raise CompatibilityError(
                "adir's guidance is as strong as the noise of the step, so that eta = 0 would leave y out: "
                "take eta above 0, 1 is the paper's"
            )

    def correct(self, step: Step, observation: Observation, prior: Prior, noise: Noise) -> Tensor:
        return step.x_s + self.step_size(step, observation) * self.gradient(step, observation, prior)

    def gradient(self, step: Step, observation: Observation, prior: Prior) -> Tensor:
        """g, (b, ...)."""
        operator, process = observation.operator, prior.process
        assert isinstance(operator, LinearOperator)
        if self.form == "autograd":
            assert step.raw.vjp is not None
            return step.raw.vjp(2 * operator.adjoint(observation.residual(step.raw.x0)))
        if self.form == "naive":
            return 2 * operator.adjoint(observation.residual(step.mean))
        alpha, sigma, eps = process.alpha(step.s), process.sigma(step.s), step.estimate.eps
        clean = process.mean(step.estimate.x0, step.s)  # what is left of mu when kappa eps is taken from it
        if self.carried == "paper":
            clean = step.mean - expand(sigma, eps) * eps
        return 2 * operator.adjoint(expand(alpha, observation.y) * observation.y - operator(clean))

    def step_size(self, step: Step, observation: Observation) -> Tensor:
        """s Sigma, broadcastable to x."""
        variance = expand(step.nu, step.mean) ** 2
        if self.rule == "paper":
            return self.scale * variance
        operator = observation.operator
        assert isinstance(operator, LinearOperator)
        norm = expand(_norm(operator, step.mean, observation), step.mean)
        most = torch.where(norm > 0, 1 / (2 * norm**2), 0)
        level = expand(noise_level(observation) ** 2, step.mean)
        own = variance / (2 * level).clamp(min=torch.finfo(torch.float64).tiny)
        return (self.scale * torch.where(level > 0, torch.minimum(own, most), most)).to(step.mean)


def _norm(operator: LinearOperator, like: Tensor, observation: Observation) -> Tensor:
    """|A| of every image, (b,): looked for once, since it may take many applications of A."""
    known = observation.memory.get("|A|", like.new_zeros(len(like)))
    if not bool((known > 0).all()):
        known = operator.norm(like).to(like)
        observation.memory.put("|A|", known)
    return known
