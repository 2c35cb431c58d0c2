"""Families of operators t -> A_t, from (nearly) nothing at t = 0 to the full degradation at t = 1."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from pellucid.errors import CompatibilityError
from pellucid.operators.base import Operator
from pellucid.operators.each import Each
from pellucid.operators.parameters import PerImage, per_image, picture_shape
from pellucid.typing import Shape

KEPT = 4  # operators that a family remembers: a reverse step asks for A_t and A_s, the next one for A_s again


class Family(ABC):
    """A_t for t in [0, 1], a number or (b,) for every image its own. Severity grows with t.

    Dirac's Definition 3.2: A_t is more severe than A_s if some A_{s->t} has A_t = A_{s->t} A_s, so that nothing comes
    back on the way up (Fabian, Tinaz and Soltanolkotabi, DiracDiffusion, ICML 2024).

    Args:
        image_shape: (c, h, w).

    Attributes:
        distance: how far A_0 is from the identity: the most that any pixel of any picture in [0, 1] may change.
        text: what it is called, for messages.
        nested: whether A_{s->t} exists for all s < t, which tests show; otherwise severity is known by measurement.
    """

    distance: float = 0.0
    nested: bool = True
    text: str = "a degradation of its own"

    def __init__(self, image_shape: Shape) -> None:
        self.image_shape: Shape = picture_shape(image_shape)
        self._forget()

    def _forget(self) -> None:
        self._made: OrderedDict[tuple[bool, tuple[float, ...]], Operator] = OrderedDict()
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Without the operators made, and without the lock, which no other process could share."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_made", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def at(self, t: PerImage) -> Operator:
        """A_t; t may be a number, or (b,) for a batch. Raises `OperatorError` outside [0, 1].

        Several threads may ask at once.
        """
        times = per_image(t, "t", at_least=0, at_most=1)
        single = torch.as_tensor(t).ndim == 0
        key = (single, tuple(times.tolist()))
        with self._lock:
            made = self._made.get(key)
        if made is None:  # outside the lock: threads need not wait for each other's operators
            made = self._at(times[0] if single else times)
        with self._lock:
            self._made[key] = made
            self._made.move_to_end(key)
            while len(self._made) > KEPT:
                self._made.popitem(last=False)
        return made

    @abstractmethod
    def _at(self, t: Tensor) -> Operator: ...

    def transition(self, s: PerImage, t: PerImage) -> Operator | None:
        """A_{s->t}, s <= t, for pictures that are A_s(x) already; None where the family has none to offer."""
        return None

    def time_of(self, operator: Operator) -> Tensor | None:
        """The smallest t at which A_t is at least as severe as `operator`, (1,) or (b,); None where it cannot tell.

        Above 1 (inf) where even A_1 is less severe. A batch of several operators has the times of each.
        """
        if not isinstance(operator, Each):
            return self._time_of(operator)
        times = []
        for part, images in zip(operator.parts, operator.images, strict=True):
            found = self.time_of(part)
            if found is None:
                return None
            times.append(found.expand(len(images)))
        return torch.cat(times)[operator.order]

    def _time_of(self, operator: Operator) -> Tensor | None:
        """`time_of` of an operator of one kind."""
        return None

    def shown(self, operator: Operator, y: Tensor) -> tuple[Tensor, float]:
        """A measurement that is no picture as the picture A_t(x), and by how much its noise's deviation grows.

        Raises:
            CompatibilityError: there is none.
        """
        raise CompatibilityError(f"{self.text} takes pictures, and {type(operator).__name__} measures something else")
