"""One reverse step as data: what consistencies correct, stops judge, callbacks watch and traces keep."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pellucid.errors import CompatibilityError
from pellucid.noise import Index
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
        images: which images take the step, (b,): their numbers in the batch of `reconstruct`, or in a `stream`.
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
    images: Tensor | None = None

    @property
    def index(self) -> int:
        """Which step of the grid this is, from 0.

        Raises:
            CompatibilityError: images are at different steps of their grids, as in a `stream`: see `indices`.
        """
        if isinstance(self.state.index, int):
            return self.state.index
        raise CompatibilityError(
            "the images of a stream are each at a step of its own; read step.indices instead of step.index"
        )

    @property
    def indices(self) -> Tensor:
        """Which step of the grid this is for every image, from 0: (b,) int64."""
        return torch.as_tensor(self.state.index).expand(len(self.s))

    @property
    def remaining(self) -> Index:
        """How many steps follow this one, for all images or for each, as `state.index`."""
        return self.total - 1 - self.state.index

    @property
    def reached(self) -> Tensor:
        """The estimate so far: the refined x0 or, on the way up, the last one before it."""
        return self.raw.x0 if bool((self.s > self.state.t).any()) else self.estimate.x0

    def select(self, chosen: Tensor) -> Step:
        """The step of images `chosen` of the batch."""
        return Step(
            self.state.select(chosen),
            self.s[chosen],
            self.raw.select(chosen),
            self.estimate.select(chosen),
            self.mean[chosen],
            self.nu[chosen],
            self.z[chosen],
            self.x_s[chosen],
            self.total,
            None if self.images is None else self.images[chosen],
        )

    def moved(self, x_s: Tensor) -> Step:
        """The same step with another result."""
        return replace(self, x_s=x_s)

    def without_graph(self) -> Step:
        """The same step without what only derivatives need: what a trace keeps."""
        return replace(self, raw=replace(self.raw, vjp=None), estimate=replace(self.estimate, vjp=None))
