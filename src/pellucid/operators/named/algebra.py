"""Names for operators made of operators, which follow in brackets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

from pellucid.operators import algebra
from pellucid.operators.base import Operator
from pellucid.operators.named.entry import Entry, Parameter, cannot_tell
from pellucid.operators.values import NUMBER
from pellucid.typing import Shape

Part = Callable[[Shape], Operator]
ANY = (1, 16)


def build_composition(image_shape: Shape, parts: Sequence[Part]) -> Operator:
    """The parts one after the other, the first one first."""
    first = parts[0](image_shape)
    return reduce(lambda done, part: algebra.compose(part(done.measurement_shape), done), parts[1:], first)


def build_sum(image_shape: Shape, parts: Sequence[Part]) -> Operator:
    """The sum of the parts."""
    return reduce(algebra.add, [part(image_shape) for part in parts])


def build_stack(image_shape: Shape, parts: Sequence[Part]) -> Operator:
    """The parts beside each other."""
    return algebra.stack([part(image_shape) for part in parts])


def build_scaled(image_shape: Shape, parts: Sequence[Part], by: float) -> Operator:
    """The part times a number."""
    return algebra.scale(parts[0](image_shape), by)


ENTRIES = (
    Entry(
        "compose",
        build_composition,
        "one after the other, in this order",
        "compose:[gaussian-blur:std=1],[bicubic:factor=4]",
        parts=ANY,
    ),
    Entry("sum", build_sum, "measurements added up", "sum:[identity],[scale:by=-1,[gaussian-blur:std=3]]", parts=ANY),
    Entry(
        "stack",
        build_stack,
        "several measurements of one picture",
        "stack:[gaussian-blur:std=3],[mask:box=64]",
        picture=cannot_tell,
        parts=ANY,
    ),
    Entry(
        "scale",
        build_scaled,
        "a measurement times a number",
        "scale:by=0.5,[identity]",
        (Parameter("by", NUMBER, 1.0, "the number"),),
        parts=(1, 1),
    ),
)
