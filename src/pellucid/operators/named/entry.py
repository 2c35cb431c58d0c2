"""What a line of the table of named operators holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pellucid.errors import OperatorError
from pellucid.operators.base import Operator
from pellucid.operators.values import NUMBER, WHOLE, Kind, Value, words
from pellucid.typing import Shape

Values = Mapping[str, Value]


@dataclass(frozen=True)
class Parameter:
    """A parameter of an operator's text form, named as in its constructor.

    Attributes:
        name: as it is written.
        kind: what it may be.
        default: its value if not given; None: it has none.
        help: a few words.
        required: whether it must be given.
    """

    name: str
    kind: Kind
    default: Value | None
    help: str
    required: bool = False


@dataclass(frozen=True)
class Entry:
    """A line of the table.

    Attributes:
        name: as it is written.
        build: (image_shape, **values) -> Operator, where parameters without a value are left out; if it has parts,
            (image_shape, parts, **values), where a part builds an operator for the shape that it is called with.
        summary: a few words.
        example: a text that `parse` reads.
        parameters: in the order in which they are printed.
        picture: (measurement_shape, values) -> image_shape; None where they are the same.
        parts: how many operators in brackets it takes, at least and at most.
    """

    name: str
    build: Callable[..., Operator]
    summary: str
    example: str
    parameters: tuple[Parameter, ...] = ()
    picture: Callable[[Shape, Values], Shape] | None = None
    parts: tuple[int, int] = (0, 0)

    def values(self, given: Values) -> dict[str, Value]:
        """The given values and the defaults of the others."""
        every = {p.name: given.get(p.name, p.default) for p in self.parameters}
        return {name: value for name, value in every.items() if value is not None}


BOUNDARY = Parameter("boundary", words("reflect", "zero", "circular"), "reflect", "what is beyond the edge")
SEED = Parameter("seed", WHOLE, 0, "of the random choice")
RCOND = Parameter("rcond", NUMBER, 3e-2, "the pseudo-inverse leaves out singular values below this times the largest")
ROUNDING = Parameter("rounding", words("straight-through", "smooth"), "straight-through", "how gradients pass")


def cannot_tell(shape: Shape, values: Values) -> Shape:
    """For `Entry.picture`, where the measurement does not tell the picture's size. Raises `OperatorError`."""
    raise OperatorError(f"a measurement of shape {shape} does not tell the picture's size; say the picture's shape")
