"""A method is a frozen bundle of five parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pellucid.consistency.base import Consistency
from pellucid.errors import CompatibilityError, NeedsCapability
from pellucid.grid import Grid
from pellucid.operators.base import LinearOperator, Operator, Spectral
from pellucid.prior.base import Clip, Prior
from pellucid.problem import Observation, Problem
from pellucid.process import Process
from pellucid.start.base import Start
from pellucid.start.noise import PureNoise
from pellucid.stop import Stop
from pellucid.transition import Inversion, Renoise, Transition

Finish = Callable[[Tensor, Observation, Prior], Tensor]
"""(output, observation, prior) -> output, in the prior's space."""

RUNGS: dict[type[Operator], str] = {
    Spectral: "a spectral operator (one with a known singular value decomposition)",
    LinearOperator: "a linear operator",
    Operator: "any operator",
}


@dataclass(frozen=True)
class Method:
    """How to reconstruct.

    Args:
        grid: which times, also upward.
        transition: k and nu of a downward step.
        start: where from.
        consistency: how y is respected.
        stop: when to end, and which output.
        clip: "no", or clip x0 to the prior's bounds (if it has any) and "keep" or "recompute" eps.
        climb: the rule of upward steps inside the grid: the forward process (`Inversion(1)`), or `Renoise`, from the
            last unrefined x0.
        wrap: makes the prior of one run from the prior given, for parts that remember something during a run.
        finish: moves the output once more, before it is decoded; not that of a run that was ended early.
        name: for messages.

    Raises:
        CompatibilityError: `clip` is none of the three words, `climb` none of the two rules, or the consistency has
            nothing to act with in steps of this kind.
    """

    grid: Grid
    transition: Transition
    start: Start = PureNoise()
    consistency: Consistency = field(default_factory=Consistency)
    stop: Stop = Stop()
    clip: Clip = "no"
    climb: Transition = Inversion(eta=1.0)
    wrap: Callable[[Prior], Prior] | None = None
    finish: Finish | None = None
    name: str = "method"

    def __post_init__(self) -> None:
        if self.clip not in ("no", "keep", "recompute"):
            raise CompatibilityError(f"clip must be 'no', 'keep' or 'recompute', not {self.clip!r}")
        if self.climb not in (Inversion(eta=1.0), Renoise()):
            raise CompatibilityError(f"climb must be Inversion(eta=1.0) or Renoise(), not {self.climb}")
        self.consistency.check_transition(self.transition)

    def steps(self, process: Process) -> int:
        """How many steps a reconstruction from the top of the grid takes."""
        top = torch.full((1,), self.grid.top(process), dtype=torch.float64)
        return len(self.grid.times(process, top)) - 1

    def check(self, problem: Problem, prior: Prior) -> None:
        """Refuses before any work what cannot work.

        Raises:
            NeedsCapability: the operator stands too low on the ladder.
            CompatibilityError: the prior lacks what the transition needs, or y lives on another shape.
            ShapeError: the prior cannot take pictures of this shape.
        """
        for part in (self.start, self.consistency):
            for needs in (part.needs, needs_of_pictures(part)):
                if not isinstance(problem.operator, needs):
                    raise NeedsCapability(
                        f"{self.name} needs {_rung(needs)}, and {type(problem.operator).__name__} is not one; "
                        f"dps takes any operator"
                    )
            if not prior.codec.linear and issubclass(part.needs, LinearOperator):
                raise NeedsCapability(
                    f"{self.name} needs {_rung(part.needs)}, and behind an autoencoder none is linear; "
                    f"with a latent prior use resample, which takes any operator"
                )
        self.consistency.check(problem.operator)
        self.transition.check(prior)
        if self.transition.needs_learned_variance and not prior.learned_variance:
            raise CompatibilityError(f"{self.name}: the prior predicts no variance; use the transition DDPM() instead")
        if self.wrap is not None:
            self.wrap(prior)
        self.grid.top(prior.process)
        self.start.check(problem, prior)
        prior.check(problem.operator.image_shape)


def needs_of_pictures(part: Start | Consistency) -> type[Operator]:
    """The rung of the operator ladder that a part stands on when it works on pictures; any, where it says nothing."""
    return getattr(part, "needs_of_pictures", Operator)


def _rung(needs: type[Operator]) -> str:
    return RUNGS.get(needs, f"a {needs.__name__} operator")
