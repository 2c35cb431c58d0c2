"""Rows for people, for pipes, and for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any


def show(rows: Sequence[dict[str, Any]], *, as_json: bool, hidden: Sequence[str] = ()) -> None:
    """A table on a terminal, tab-separated lines in a pipe, or JSON with the hidden columns too."""
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    plain = [{key: str(value) for key, value in row.items() if key not in hidden} for row in rows]
    if not sys.stdout.isatty():
        for row in plain:
            print("\t".join(row.values()))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, key in enumerate(plain[0] if plain else ()):
        table.add_column(key, no_wrap=number == 0)
    for row in plain:
        table.add_row(*row.values())
    Console(markup=False).print(table)
