"""`pellucid bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pellucid.cli.options import PriorName

OPERATOR = "mask:random=0.7,seed=1"

app = typer.Typer(help="Measure speed.", no_args_is_help=False)


@app.callback()
def group() -> None:
    """Measure speed."""


@app.command("overhead")
def overhead(
    size: Annotated[int, typer.Option(help="Side of the picture.")] = 256,
    nfe: Annotated[int, typer.Option(help="Network calls of every method.")] = 20,
    operator: Annotated[str, typer.Option(help="What was measured; its own cost counts as overhead.")] = OPERATOR,
    prior: PriorName = "photo",
    repeats: Annotated[int, typer.Option(help="Turns of bare calls and method.")] = 5,
    out: Annotated[Path | None, typer.Option(help="A JSON file.")] = None,
) -> None:
    """Seconds of a method over the seconds of its bare network calls."""
    from pellucid.bench.overhead import run

    run(size=size, nfe=nfe, operator=operator, prior=prior, repeats=repeats, out=out)
