"""A method's settings in a file: what `pellucid tune` writes, and `restore` and plans read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pellucid.bench.toml import build, is_whole, read, require


@dataclass(frozen=True)
class MethodSettings:
    """A method with its options.

    Args:
        method: its name.
        nfe: network calls; None for the method's own number.
        options: its options.
        tuned: how they were found, for people.
    """

    method: str
    nfe: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    tuned: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        method: object = self.method
        require(isinstance(method, str) and method != "", "method is a method's name")
        require(self.nfe is None or (is_whole(self.nfe) and self.nfe > 0), "nfe is a whole number from 1")
        tables: tuple[object, ...] = (self.options, self.tuned)
        require(all(isinstance(table, dict) for table in tables), "options and tuned are tables")
        simple = all(isinstance(value, bool | int | float | str) for value in self.options.values())
        require(simple, "an option is a number, a text, true or false")


def load(path: Path) -> MethodSettings:
    """Reads the file.

    Raises:
        ConfigError: it is missing or no TOML, or a key is unknown or of a wrong kind.
    """
    return build(MethodSettings, read(path), str(path))
