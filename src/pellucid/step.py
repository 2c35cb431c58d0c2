"""One reverse step as data: what consistencies correct, stops judge, callbacks watch and traces keep."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from pellucid.prior.base import Estimate, State


@dataclass(frozen=True)
class Step:
    """x_s = mean + nu z, before and after correction.

    Attributes:
        state: x_t and t.
        s: the time stepped to, (b,).
        raw: the prior's estimate.
        estimate: the estimate after refinement, which the step was made from.
        mean: M_s(x0) + k eps.
        nu: (b,), or per entry for a learned variance.
        z: the standard normal draw.
        x_s: the result.
        total: number of steps of the grid.
    """

    state: State
    s: Tensor
    raw: Estimate
    estimate: Estimate
    mean: Tensor
    nu: Tensor
    z: Tensor
    x_s: Tensor
    total: int = 0

    @property
    def index(self) -> int:
        """Which step of the grid this is, from 0."""
        return self.state.index

    @property
    def remaining(self) -> int:
        """How many steps follow this one."""
        return self.total - 1 - self.index

    @property
    def reached(self) -> Tensor:
        """The estimate so far: the refined x0 or, on the way up, the last one before it."""
        return self.raw.x0 if bool((self.s > self.state.t).any()) else self.estimate.x0

    def moved(self, x_s: Tensor) -> Step:
        """The same step with another result."""
        return replace(self, x_s=x_s)

    def without_graph(self) -> Step:
        """The same step without what only derivatives need: what a trace keeps."""
        return replace(self, raw=replace(self.raw, vjp=None), estimate=replace(self.estimate, vjp=None))
