"""Stops: when a reconstruction ends, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from pellucid.step import Step


@dataclass(frozen=True)
class Stop:
    """Runs to the end of the grid.

    Args:
        output: "state" returns x_s of the last step, "x0" the estimate that it was made from.
    """

    output: Literal["state", "x0"] = "state"

    def __call__(self, step: Step) -> Tensor:
        """Which images are done after this step: (b,) bool."""
        return torch.zeros(len(step.s), dtype=torch.bool)


ROUNDING = 1e-9  # of a grid's times: 0.3 may be 0.30000000000000004


@dataclass(frozen=True)
class StopBelow(Stop):
    """Ends once a step has reached a time of at most `time`: early stopping trades realism for fidelity."""

    time: float = 0.0

    def __call__(self, step: Step) -> Tensor:
        return step.s <= self.time + ROUNDING
