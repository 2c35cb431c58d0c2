"""AdamW, image by image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.errors import require_range
from pellucid.optimise.misfit import Active, Misfit
from pellucid.typing import expand


@dataclass(frozen=True)
class AdamW:
    """x <- (1 - lr wd) x - lr m / (sqrt(v) + eps), m and v the debiased moments of the gradient.

    Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019, with torch's constants. An image stops
    after the step whose value before it was below its goal.

    Args:
        steps: at most.
        lr: step size, in the units of x.
        weight_decay: wd.
        window: from this iteration on, an image stops whose value exceeds the one `window` iterations ago; None: never.
    """

    steps: int = 500
    lr: float = 5e-3
    weight_decay: float = 1e-2
    window: int | None = None

    def __post_init__(self) -> None:
        require_range("steps", self.steps, 0)
        require_range("lr", self.lr, 0, above=True)

    def __call__(self, misfit: Misfit, x: Tensor, goal: Tensor) -> Tensor:
        """The minimiser reached from x, (b, ...); `goal` (b,) is the value that is low enough."""
        active, goal = Active(misfit, x), goal.to(x.device)
        m, v = torch.zeros_like(x), torch.zeros_like(x)
        values: list[Tensor] = []
        for k in range(1, self.steps + 1):
            value, gradient = active.evaluate(active.x)
            values.append(value)
            m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
            denominator = (v / (1 - 0.999**k)).sqrt() + 1e-8
            active.x = (1 - self.lr * self.weight_decay) * active.x - self.lr / (1 - 0.9**k) * m / denominator
            stay = active.leave((value < expand(goal, value)) | self._rising(values))
            if not len(stay):
                break
            if len(stay) < len(value):
                m, v, goal, values = m[stay], v[stay], goal[stay], [old[stay] for old in values]
        return active.finish()

    def _rising(self, values: list[Tensor]) -> Tensor:
        """Whether the last value exceeds the one `window` iterations before it."""
        if self.window is None or len(values) <= self.window:
            return torch.zeros_like(values[-1], dtype=torch.bool)
        return values[-1] > values[-1 - self.window]
