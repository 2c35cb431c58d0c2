"""What foreign objects become when they are read: names and data, nothing that could be called."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Named:
    """A class or function that a file refers to by name; it is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Inert:
    """An object of a class that is not let through: its parts as data.

    Attributes:
        of: its class, or the function that would have made it.
        arguments: what that would have been called with.
        state: what would have been its attributes.
        items, entries: what a subclass of dict or list held.
    """

    of: Named
    arguments: Any = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    entries: list[Any] = field(default_factory=list)


def plain(tree: Any, budget: int = 100_000) -> Any:
    """A tree as dicts, lists, numbers, strings and None, for configurations; tensors and the unknown become None.

    A dict subclass becomes its items, any other object the dict of its attributes. A file can refer to one list a
    thousand times, and to that one again: the budget counts what is written out.

    Raises:
        ValueError: the tree has more entries than `budget`, or is nested more than 50 deep.
    """
    left = [budget]

    def walk(value: Any, depth: int) -> Any:
        left[0] -= 1
        if left[0] < 0 or depth > 50:
            raise ValueError("the configuration inside is too large")
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, dict):
            return {str(key): walk(entry, depth + 1) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [walk(entry, depth + 1) for entry in value]
        if isinstance(value, Inert):
            if value.items or isinstance(value.state, dict):
                own = value.state if isinstance(value.state, dict) else {}
                return walk(value.items or own, depth + 1)
            return walk(value.entries, depth + 1) if value.entries else None
        return None

    return walk(tree, 0)
