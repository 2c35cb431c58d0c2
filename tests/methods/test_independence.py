"""A transcription that used pellucid would prove nothing about it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[1] / "reference"
FILES = sorted(REFERENCE.glob("*.py"))
ALLOWED = {"__future__", "collections.abc", "dataclasses", "itertools", "math", "torch"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_transcriptions_import_torch_and_each_other_only(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert all(name in ALLOWED or name.startswith("tests.reference") for name in names)


def test_there_are_transcriptions() -> None:
    assert len(FILES) >= 12
