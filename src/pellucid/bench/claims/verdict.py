"""From numbers with intervals to a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pellucid.metrics.statistics import Summary

Verdict = Literal["reproduced", "partly", "not reproduced", "not testable here"]


@dataclass(frozen=True)
class Part:
    """One statement that a claim makes, and what became of it.

    Attributes:
        what: is compared with what.
        criterion: under which it holds.
        figure: what was measured, with its 95 % interval.
        holds: None where the interval lies on both sides of the criterion.
    """

    what: str
    criterion: str
    figure: str
    holds: bool | None


def verdict(parts: Sequence[Part]) -> Verdict:
    """What the parts of a claim amount to.

    All hold: reproduced. None holds and at least one is refuted: not reproduced. None is decided: not testable here, as
    the intervals are too wide. Anything else: partly.
    """
    held = [part.holds for part in parts]
    if held and all(held):
        return "reproduced"
    if any(held):
        return "partly"
    return "not reproduced" if False in held else "not testable here"


def above(number: Summary, bound: float) -> bool | None:
    """Whether the number is at least `bound`: its whole interval, none of it, or neither (None)."""
    return _decided(number.low >= bound, number.high < bound)


def below(number: Summary, bound: float) -> bool | None:
    """Whether the number is at most `bound`: its whole interval, none of it, or neither (None)."""
    return _decided(number.high <= bound, number.low > bound)


def within(number: Summary, bound: float) -> bool | None:
    """Whether the number lies in [-bound, bound]: its whole interval, none of it, or neither (None)."""
    return _decided(-bound <= number.low and number.high <= bound, number.low > bound or number.high < -bound)


def _decided(yes: bool, no: bool) -> bool | None:
    return True if yes else False if no else None
