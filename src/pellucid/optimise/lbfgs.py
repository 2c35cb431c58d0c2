"""L-BFGS, image by image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.errors import require_range
from pellucid.optimise.misfit import Active, Misfit
from pellucid.typing import dot, expand

Pair = tuple[Tensor, Tensor, Tensor]
"""(s, y, 1 / <s, y>): a change of x and of the gradient; the last is 0 where the pair is not to be used."""


@dataclass(frozen=True)
class LBFGS:
    """Quasi-Newton steps x <- x - c H grad f with H from the last pairs of changes (Nocedal, 1980).

    Every image has its own history, step length and stop: at its goal, or where three iterations gained less than
    `tolerance` of the value, or where no step along the direction helps any more. The first step is f / |grad f|^2 long
    and steps are halved until they gain a hundredth of what the slope promises (Armijo); one value with its gradient
    is mostly all that an iteration costs.

    Args:
        steps: iterations at most.
        history: pairs kept.
        tolerance: relative gain of three iterations below which an image stops.
    """

    steps: int = 20
    history: int = 10
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        require_range("steps", self.steps, 0)
        require_range("history", self.history, 1)
        require_range("tolerance", self.tolerance, 0)

    def __call__(self, misfit: Misfit, x: Tensor, goal: Tensor) -> Tensor:
        """The minimiser reached from x, (b, ...); `goal` (b,) is the value that is low enough."""
        if not self.steps:
            return x
        active = Active(misfit, x)
        value, gradient = active.evaluate(x)
        pairs: list[Pair] = []
        goal, values = goal.to(value), [value]
        done = value <= goal
        for _ in range(self.steps):
            stay = active.leave(done)
            if not len(stay):
                return active.finish()
            value, gradient, goal = value[stay], gradient[stay], goal[stay]
            pairs, values = _keep(pairs, stay), [old[stay] for old in values]
            moved, new, slope = _search(active, value, gradient, -_times_inverse_hessian(pairs, gradient, value))
            pairs = [*pairs, _pair(moved - active.x, slope - gradient)][-self.history :]
            stuck = new >= value
            active.x, value, gradient = moved, new, slope
            values = [*values, value][-4:]
            done = (value <= goal) | stuck | self._slow(values)
        active.leave(done)
        return active.finish()

    def _slow(self, values: list[Tensor]) -> Tensor:
        if len(values) < 4:
            return torch.zeros_like(values[-1], dtype=torch.bool)
        return values[0] - values[-1] < self.tolerance * values[0]


def _keep(pairs: list[Pair], stay: Tensor) -> list[Pair]:
    return [(s[stay], y[stay], rho[stay]) for s, y, rho in pairs]


def _pair(s: Tensor, y: Tensor) -> Pair:
    curvature, scale = dot(s, y), (dot(s, s) * dot(y, y)).sqrt()
    sound = curvature > 1e-6 * scale
    return s, y, torch.where(sound, 1 / torch.where(sound, curvature, 1), 0)


def _times_inverse_hessian(pairs: list[Pair], gradient: Tensor, value: Tensor) -> Tensor:
    """H grad f by the two-loop recursion; without a usable pair H = f / |grad f|^2."""
    q, weights = gradient, []
    for s, y, rho in reversed(pairs):
        weight = rho * dot(s, q)
        q = q - expand(weight, q) * y
        weights.append(weight)
    size = dot(gradient, gradient)
    scale = torch.where(size > 0, value / torch.where(size > 0, size, 1), 0)
    for _, y, rho in pairs:  # the last usable pair says how long a step is
        length = dot(y, y)
        usable = (rho > 0) & (length > 0)
        scale = torch.where(usable, 1 / torch.where(usable, rho * length, 1), scale)
    q = expand(scale, q) * q
    for (s, y, rho), weight in zip(pairs, reversed(weights), strict=True):
        q = q + expand(weight - rho * dot(y, q), q) * s
    return q


def _search(
    active: Active, value: Tensor, gradient: Tensor, direction: Tensor, halvings: int = 4
) -> tuple[Tensor, Tensor, Tensor]:
    """(x, f, grad f) after a step along `direction` that gains something; where there is none, x as it was."""
    slope = dot(gradient, direction)
    best, new, at = active.x.clone(), value.clone(), gradient.clone()
    searching, length = torch.arange(len(value), device=value.device), 1.0
    for _ in range(halvings + 1):
        x = active.x[searching] + length * direction[searching]
        whole = len(searching) == len(value)
        found, g = active.evaluate(x) if whole else active.evaluate_some(searching, x)
        enough = found <= value[searching] + 0.01 * length * slope[searching]
        chosen = searching[enough]
        best[chosen], new[chosen], at[chosen] = x[enough], found[enough], g[enough]
        searching, length = searching[~enough], length / 2
        if not len(searching):
            break
    return best, new, at
