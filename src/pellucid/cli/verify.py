"""`pellucid verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pellucid.cli.options import Json, Nfe, Settings


def verify(
    method: Annotated[str | None, typer.Argument(help="A name from `pellucid list methods`.")] = None,
    operator: Annotated[
        list[str] | None, typer.Option("--operator", "-A", help="Repeatable; the standard five if not given.")
    ] = None,
    noise: Annotated[float, typer.Option("--noise", "-n", help="Standard deviation of the noise.")] = 0.05,
    size: Annotated[int, typer.Option(help="Side of the pictures.")] = 64,
    everything: Annotated[bool, typer.Option("--all", help="All methods on the standard problems.")] = False,
    prior: Annotated[str, typer.Option(help="gaussian or mixture: both have an exact posterior.")] = "gaussian",
    out: Annotated[Path | None, typer.Option(help="Folder for JSON and plots.")] = None,
    nfe: Nfe = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Hold a method against the exact posterior: error, spread, coverage, residual."""
    from pellucid.cli.settings import method_options
    from pellucid.verify.cli import run

    run(
        method,
        operator,
        noise,
        size,
        everything=everything,
        prior=prior,
        out=out,
        as_json_text=json,
        nfe=nfe,
        options=method_options(settings or []),
    )
