"""What a metric is: a name, how to read its number, and a function of pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pellucid.metrics.errors import MetricError
from pellucid.metrics.protocol import PLAIN, Protocol, require_pair
from pellucid.problem import Problem


class SetMetric(ABC):
    """A number of two sets of pictures, which arrive in batches and need not be pairs.

    Args:
        protocol: how pictures are prepared.
    """

    def __init__(self, protocol: Protocol = PLAIN) -> None:
        self.protocol = protocol

    def update(self, x: Tensor | None = None, truth: Tensor | None = None) -> None:
        """Adds pictures (b, c, h, w) in [0, 1] to the results, the true pictures, or both."""
        with torch.no_grad():
            for pictures, true in ((x, False), (truth, True)):
                if pictures is not None:
                    self._add(self.protocol.prepare(pictures), true=true)

    @abstractmethod
    def _add(self, pictures: Tensor, *, true: bool) -> None:
        """Prepared pictures of one of the two sets."""

    @abstractmethod
    def compute(self) -> float:
        """The number. Raises `MetricError` if there are too few pictures for it."""

    @property
    @abstractmethod
    def text(self) -> str:
        """How many samples of how many dimensions, and what that means for the number."""


@dataclass(frozen=True)
class Metric:
    """A metric by name.

    Attributes:
        name: what the command line calls it.
        unit: of the number; "" for none.
        better: which way is better.
        summary: a few words.
        statement: what is fixed beside the protocol: kernel, network, input size.
        needs_truth: whether the true picture is compared with.
        needs_problem: whether the measurement and its operator are needed; then the picture is taken as it is.
        per_image: a number an image; False for one of a whole set.
        extra: the extra of pellucid that brings its library; None for none.
        weights: names of the files that it needs.
        double: whether it is computed in float64; networks compute in float32.
        score: (x, truth) -> (b,), (x) -> (b,) or (problem, x) -> (b,).
        gather: makes the empty set metric.
    """

    name: str
    unit: str
    better: Literal["higher", "lower"]
    summary: str
    statement: str
    needs_truth: bool = True
    needs_problem: bool = False
    per_image: bool = True
    extra: str | None = None
    weights: tuple[str, ...] = ()
    double: bool = False
    score: Callable[..., Tensor] | None = None
    gather: Callable[[Protocol], SetMetric] | None = None

    def __call__(
        self,
        x: Tensor,
        truth: Tensor | None = None,
        *,
        problem: Problem | None = None,
        protocol: Protocol = PLAIN,
        double: bool | None = None,
    ) -> Tensor:
        """The number of every image, (b,), each as if it were alone.

        Args:
            x: results, (b, c, h, w) in [0, 1].
            truth: the true pictures, of the same shape; not looked at where the metric needs none.
            problem: for metrics of data consistency.
            protocol: how both are prepared.
            double: compute in float64, or not; None: as the metric says.

        Raises:
            MetricError: it is a metric of sets, something that it needs is missing, or the shapes differ.
        """
        if self.score is None:
            raise MetricError(f"{self.name} is a number of a whole set of pictures: use accumulate()")
        if self.needs_problem:
            if problem is None:
                raise MetricError(f"{self.name} needs the problem: the measurement, its operator and its noise")
            return self.score(problem, x)
        dtype = torch.float64 if (self.double if double is None else double) else torch.float32
        if not self.needs_truth:
            return self.score(protocol.prepare(x.to(dtype)))
        if truth is None:
            raise MetricError(f"{self.name} needs the true picture")
        require_pair(x, truth)
        return self.score(protocol.prepare(x.to(dtype)), protocol.prepare(truth.to(x.device, dtype)))

    def accumulate(self, protocol: Protocol = PLAIN) -> SetMetric:
        """An empty set metric, to be fed batch by batch. Raises `MetricError` for a metric of single images."""
        if self.gather is None:
            raise MetricError(f"{self.name} is a number an image: call it with pictures")
        return self.gather(protocol)

    def text(self, protocol: Protocol = PLAIN) -> str:
        """All that has to be said with a number of this metric."""
        direction = f"{self.better} is better"
        fixed = "the picture as it is, nothing clipped or cut off" if self.needs_problem else protocol.text
        return f"{self.name}{f' in {self.unit}' if self.unit else ''} ({direction}): {fixed}; {self.statement}"
