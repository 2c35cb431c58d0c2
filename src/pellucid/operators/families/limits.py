"""Numbers of families, which come from texts and cards of others."""

from __future__ import annotations

import math

from pellucid.errors import CompatibilityError, require_range

LARGEST = 1e6  # of widths in pixels, and of whatever has no bound of its own


def require_number(name: str, value: object, low: float, high: float = LARGEST, *, above: bool = False) -> None:
    """Raises `CompatibilityError` unless a value is a finite number in [low, high], or in (low, high] if `above`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not _finite(value):
        raise CompatibilityError(f"{name} must be a finite number, not {_short(value)}")
    require_range(name, value, low, high, above=above)


def require_whole(name: str, value: object, low: int, high: int) -> None:
    """Raises `CompatibilityError` unless a value is a whole number from low to high."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise CompatibilityError(f"{name} must be a whole number from {low} to {high}, not {_short(value)}")


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def _short(value: object) -> str:
    """As it is written, but no more than a line of it."""
    if isinstance(value, int) and abs(value) > 10**30:  # Python refuses to write thousands of digits
        return "one of more than 30 digits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
