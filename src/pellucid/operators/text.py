"""Operators as text, one grammar for the command line, configuration files and the page.

    spec  = name [":" item {"," item}]
    item  = parameter "=" value | "[" spec "]"

`gaussian-blur:std=3`, `mask:random=0.7,seed=1`, `compose:[gaussian-blur:std=1],[bicubic:factor=4]` (blur first). A
value with a comma, a bracket or a quote is written in double quotes, a quote in it twice. Nothing is read from disk
before an operator is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pellucid.errors import OperatorError, UnknownNameError
from pellucid.operators.base import Operator
from pellucid.operators.grammar import Node, read
from pellucid.operators.named import algebra, blurs, levels, masks, samplings, tomography
from pellucid.operators.named.entry import Entry
from pellucid.operators.values import Value, written
from pellucid.typing import Shape

OPERATORS: Mapping[str, Entry] = MappingProxyType(
    {entry.name: entry for part in (masks, blurs, samplings, tomography, levels, algebra) for entry in part.ENTRIES}
)
"""The table that `pellucid list operators` prints."""


@dataclass(frozen=True)
class Spec:
    """An operator's text, understood: `parse(str(spec)) == spec`.

    Attributes:
        name: in `OPERATORS`.
        parameters: those that were given, in the order of the table.
        parts: the operators that it is made of.
    """

    name: str
    parameters: tuple[tuple[str, Value], ...] = ()
    parts: tuple[Spec, ...] = ()

    def __str__(self) -> str:
        items = [f"{name}={written(value)}" for name, value in self.parameters] + [f"[{part}]" for part in self.parts]
        return f"{self.name}:{','.join(items)}" if items else self.name

    @property
    def entry(self) -> Entry:
        """The operator's line in the table."""
        return OPERATORS[self.name]

    def build(self, image_shape: Shape) -> Operator:
        """The operator for pictures of that shape.

        Raises:
            ShapeError: it does not fit the picture.
            OperatorError: a value is out of range, or a file cannot be read.
        """
        values = self.entry.values(dict(self.parameters))
        if self.entry.parts[1] == 0:
            return self.entry.build(image_shape, **values)
        return self.entry.build(image_shape, [part.build for part in self.parts], **values)

    def image_shape_for(self, measurement_shape: Shape) -> Shape:
        """The shape of the picture that such a measurement is of: larger for low resolution, coloured for grey.

        Raises:
            OperatorError: the measurement does not tell.
        """
        if self.entry.picture is not None:
            if len(measurement_shape) != 3:
                raise OperatorError(f"{self.name} measures (channels, height, width), not {measurement_shape}")
            return self.entry.picture(measurement_shape, self.entry.values(dict(self.parameters)))
        followed = reversed(self.parts) if self.name == "compose" else self.parts[:1]
        for part in followed:
            measurement_shape = part.image_shape_for(measurement_shape)
        return measurement_shape


def parse(text: str) -> Spec:
    """The operator that a text describes.

    Raises:
        UnknownNameError: there is no operator of that name; the nearest is named.
        OperatorError: the text breaks the grammar, or a parameter is unknown, given twice, missing, or no such value.
    """
    return _understand(read(text))


def _understand(node: Node) -> Spec:
    if node.name not in OPERATORS:
        raise UnknownNameError("operator", node.name, OPERATORS)
    entry = OPERATORS[node.name]
    least, most = entry.parts
    if not least <= len(node.parts) <= most:
        wanted = f"{least} to {most} operators in brackets" if most else "no operators in brackets"
        raise OperatorError(f"{entry.name} takes {wanted}, as in {entry.example}")
    return Spec(entry.name, _typed(entry, node.parameters), tuple(_understand(part) for part in node.parts))


def _typed(entry: Entry, given: Mapping[str, str]) -> tuple[tuple[str, Value], ...]:
    known = [p.name for p in entry.parameters]
    for name in given:
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise OperatorError(f"{entry.name} has no parameter {name!r}; {has}")
    for p in entry.parameters:
        if p.required and p.name not in given:
            raise OperatorError(f"{entry.name} needs {p.name}, as in {entry.example}")
    values = []
    for p in entry.parameters:
        if p.name in given:
            try:
                values.append((p.name, p.kind.read(given[p.name])))
            except (ValueError, OverflowError):
                raise OperatorError(f"{entry.name}: {p.name} is {p.kind.name}, not {given[p.name]!r}") from None
    return tuple(values)
