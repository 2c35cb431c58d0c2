"""Values of parameters in text: numbers, words, sizes, paths."""

from __future__ import annotations

import math
from dataclasses import dataclass

Value = int | float | str | tuple[int, int]


@dataclass(frozen=True)
class Kind:
    """A kind of value; `read` raises `ValueError`, and `name` says in a few words what it wants.

    Args:
        name: "a whole number", "one of reflect, zero, circular".
        words: the words that it may be, if it is one of a few.
    """

    name: str
    words: tuple[str, ...] = ()

    def read(self, text: str) -> Value:
        """The value of a text."""
        if self.words and text not in self.words:
            raise ValueError(text)
        return text


class _Whole(Kind):
    def read(self, text: str) -> Value:
        value = int(text)
        if abs(value) >= 2**63:
            raise ValueError(text)
        return value


class _WholeOrAuto(_Whole):
    def read(self, text: str) -> Value:
        return text if text == "auto" else super().read(text)


class _Number(Kind):
    def read(self, text: str) -> Value:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(text)
        return value


class _Size(Kind):
    def read(self, text: str) -> Value:
        height, cross, width = text.partition("x")
        return (int(height), int(width)) if cross else int(text)


WHOLE = _Whole("a whole number")
WHOLE_OR_AUTO = _WholeOrAuto("a whole number, or auto")
NUMBER = _Number("a number")
SIZE = _Size("a whole number, or height x width such as 64x32")
PATH = Kind("a path")


def words(*choices: str) -> Kind:
    """One of a few words."""
    return Kind(f"one of {', '.join(choices)}", choices)


def written(value: Value) -> str:
    """The text of a value, which `Kind.read` reads back to the same; quoted where the grammar needs it."""
    if isinstance(value, tuple):
        return f"{value[0]}x{value[1]}"
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    text = str(value)
    plain = text and not set(text) & set(',[]"') and text == text.strip()
    return text if plain else '"' + text.replace('"', '""') + '"'
