"""Families of operators as text: `a..b` in an operator's text stands for a number that is drawn."""

from __future__ import annotations

import re

import numpy as np

from pellucid.errors import ConfigError

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})")
_WHOLE = re.compile(r"[-+]?\d+")


def has_range(text: str) -> bool:
    """Whether the text is of a family, and not of one operator."""
    return _RANGE.search(text) is not None


def require_ranges(text: str) -> None:
    """Raises `ConfigError` where a range ends below its start."""
    for low, high in _RANGE.findall(text):
        if float(low) > float(high):
            raise ConfigError(f"the range {low}..{high} in {text!r} ends below its start")


def drawn(text: str, rng: np.random.Generator) -> str:
    """The text of one operator of the family: uniform numbers, of six digits; whole ones between whole ends, both in.

    Args:
        text: "gaussian-blur:std=0.3..3"; without a range it stays as it is.
        rng: decides everything.
    """

    def number(match: re.Match[str]) -> str:
        low, high = match.groups()
        if _WHOLE.fullmatch(low) and _WHOLE.fullmatch(high):
            return str(rng.integers(int(low), int(high) + 1))
        return f"{rng.uniform(float(low), float(high)):.6g}"

    return _RANGE.sub(number, text)
