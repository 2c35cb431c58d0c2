"""`pellucid report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of `pellucid bench`.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A folder; DIR/report of the first if not given.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Label of the method that the others are compared with; the plan's if not given.")
    ] = None,
    pictures: Annotated[int, typer.Option(help="How many pictures of each task are shown.")] = 2,
) -> None:
    """Make one page of results: tables with intervals, pictures, curves; and the tables as CSV and LaTeX."""
    from pellucid.bench.report.make import report as make

    print(make(folders, output or folders[0] / "report", reference=reference, pictures=pictures))
