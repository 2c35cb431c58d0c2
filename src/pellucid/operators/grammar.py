"""The grammar of operators as text, without what the names mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pellucid.errors import OperatorError

MAX_LENGTH = 10_000
MAX_DEPTH = 20


@dataclass(frozen=True)
class Node:
    """A name, its parameters as text, and the nodes in its brackets."""

    name: str
    parameters: Mapping[str, str]
    parts: tuple[Node, ...]


def read(text: str) -> Node:
    """The tree of a text (`pellucid.operators.text` has the grammar). Raises `OperatorError`."""
    if len(text) > MAX_LENGTH:
        raise OperatorError(f"an operator's text has at most {MAX_LENGTH} characters, not {len(text)}")
    reader = _Reader(text)
    node = reader.node(0)
    if not reader.ended:
        raise reader.error("the text should end here")
    return node


class _Reader:
    """Reads a text from left to right."""

    def __init__(self, text: str) -> None:
        self.text, self.place = text.strip(), 0

    @property
    def ended(self) -> bool:
        return self.place >= len(self.text)

    def error(self, what: str) -> OperatorError:
        rest = self.text[self.place :]
        at = f"before {rest[:20]!r}" if rest else "at the end"
        return OperatorError(f"the operator {self.text[:60]!r} cannot be read {at}: {what}")

    def take(self, pattern: str) -> str | None:
        """What the pattern matches here, read; None if it does not match."""
        if match := re.compile(pattern).match(self.text, self.place):
            self.place = match.end()
            return match[0].strip()
        return None

    def node(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self.error(f"brackets are nested at most {MAX_DEPTH} deep")
        name = self.take(r"\s*[A-Za-z][\w-]*\s*")
        if name is None:
            raise self.error("a name was expected, such as gaussian-blur:std=3")
        parameters: dict[str, str] = {}
        parts: list[Node] = []
        if self.take(":") is not None:
            self.item(parameters, parts, depth)
            while self.take(r"\s*,") is not None:
                self.item(parameters, parts, depth)
        return Node(name, parameters, tuple(parts))

    def item(self, parameters: dict[str, str], parts: list[Node], depth: int) -> None:
        if self.take(r"\s*\[") is not None:
            parts.append(self.node(depth + 1))
            if self.take(r"\s*\]") is None:
                raise self.error("a ] is missing")
            return
        key = self.take(r"\s*\w+\s*(?==)")
        if key is None:
            raise self.error("parameter=value or [operator] was expected")
        if key in parameters:
            raise self.error(f"{key} is given twice")
        self.take("=")
        parameters[key] = self.value(key)

    def value(self, key: str) -> str:
        quoted = self.take(r'\s*"(?:[^"]|"")*"\s*')
        if quoted is not None:
            return quoted[1:-1].replace('""', '"')
        plain = self.take(r'[^\[\],"]+')
        if not plain:
            raise self.error(f"{key} has no value")
        return plain
