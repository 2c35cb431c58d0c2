"""Dirac's forward process: the degradation itself, ever stronger, under ever louder noise."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.errors import CompatibilityError, require_range
from pellucid.operators.diagonal import Diagonal
from pellucid.operators.families.base import Family
from pellucid.process import Process
from pellucid.typing import Shape, expand

DEVIATION = 0.25  # of pictures, about their mean
KEPT = 8  # picture shapes whose families a process remembers


class NoiseSchedule(ABC):
    """sigma_t for t in [0, 1], rising; in [0, 1] units of pictures."""

    @abstractmethod
    def std(self, t: Tensor) -> Tensor:
        """sigma_t."""

    @abstractmethod
    def time(self, std: Tensor) -> Tensor:
        """The inverse, clamped to [0, 1]."""


@dataclass(frozen=True)
class Geometric(NoiseSchedule):
    """sigma_t = low (high / low)^t: Dirac's, with 0.01 and 0.05 (METHODS 1.2).

    Raises:
        CompatibilityError: low is not above 0, or not below high.
    """

    low: float = 0.01
    high: float = 0.05

    def __post_init__(self) -> None:
        require_range("the lowest noise", self.low, 0, above=True)
        require_range("the highest noise", self.high, self.low, above=True)
        if not math.isfinite(self.high):
            raise CompatibilityError(f"the highest noise must be finite, not {self.high:g}")

    def std(self, t: Tensor) -> Tensor:
        return self.low * (self.high / self.low) ** t

    def time(self, std: Tensor) -> Tensor:
        ratio = torch.log(torch.tensor(self.high / self.low, dtype=torch.float64))
        return (torch.log(std.double() / self.low) / ratio).clamp(0, 1)


class Degradation(Process):
    """y_t = A_t(x_0) + sigma_t z, t in [0, 1]: a stochastic degradation process.

    Fabian, Tinaz and Soltanolkotabi, DiracDiffusion, ICML 2024, sec. 3.1. alpha_t is 1. At t = 0 there is a little
    noise left, and A_0 is the identity or near it.

    Args:
        family: A_t for pictures of a shape; a `Family` makes the process one of that shape alone.
        noise: sigma_t.
    """

    t_max = 1.0

    def __init__(self, family: Callable[[Shape], Family] | Family, noise: NoiseSchedule | None = None) -> None:
        self.family_of = family
        self.noise = noise or Geometric()
        self._families: dict[Shape, Family] = {}

    def family(self, image_shape: Shape) -> Family:
        """A_t for pictures of a shape (c, h, w)."""
        if isinstance(self.family_of, Family):
            return self.family_of
        shape = tuple(image_shape)
        known = self._families.get(shape)
        if known is None:
            known = self.family_of(shape)
            # A new table each time: threads that read the old one are not disturbed.
            self._families = dict([*self._families.items()][1 - KEPT :]) | {shape: known}
        return known

    def lifted(self, y: Tensor, t: Tensor) -> Tensor:
        """What y_t says outright where A_t weighs pixels, and those weights w: (b, c, h, w) -> (b, c + 1, h, w).

        The first c channels are w y / (w^2 + sigma_t^2 / s^2), s = 0.25: Wiener's estimate of a picture of that
        deviation, from which a network need not find out by itself how dark the hole made a pixel.

        Raises:
            CompatibilityError: A_t does not weigh pixels, each on its own and all channels alike.
        """
        operator = self.family(tuple(y.shape[1:])).at(t)
        if not isinstance(operator, Diagonal) or operator.get_buffer("weights").shape[1] != 1:
            raise CompatibilityError("only degradations that weigh pixels, such as hole, can be lifted")
        weights = operator.constant("weights", y)
        noise = expand((self.sigma(t) / DEVIATION) ** 2, y)
        return torch.cat([weights * y / (weights**2 + noise), weights.expand(len(y), -1, -1, -1)], dim=1)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.noise.std(t)

    def time_at_ratio(self, ratio: Tensor) -> Tensor:
        return self.noise.time(ratio)

    def mean(self, x0: Tensor, t: Tensor) -> Tensor:
        """M_t(x_0) = A_t(x_0)."""
        mean: Tensor = self.family(tuple(x0.shape[1:])).at(t)(x0)
        return mean
