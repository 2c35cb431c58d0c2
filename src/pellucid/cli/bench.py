"""`pellucid bench` and `pellucid overhead`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pellucid.cli.options import PriorName

OPERATOR = "mask:random=0.7,seed=1"


def bench(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="What to run; docs/benchmark.md has the keys.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the results; runs/PLAN if not given.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes; the results do not depend on how many.")] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, say how much there is to do; write nothing.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Run again what failed.")] = False,
) -> None:
    """Run an experiment: pictures x tasks x methods x priors x seeds, into a Parquet file.

    The same command goes on where a run was ended, however it was ended. `pellucid report` makes the tables.
    """
    from pellucid.bench.plan import Plan
    from pellucid.bench.run import bench as run

    folder = output if output is not None else Path("runs") / plan.stem
    run(Plan.load(plan), folder, workers=workers, dry_run=dry_run, retry=retry, source=str(plan))


def overhead(
    size: Annotated[int, typer.Option(help="Side of the picture.")] = 256,
    nfe: Annotated[int, typer.Option(help="Network calls of every method.")] = 20,
    operator: Annotated[str, typer.Option(help="What was measured; its own cost counts as overhead.")] = OPERATOR,
    prior: PriorName = "photo",
    repeats: Annotated[int, typer.Option(min=1, help="Turns of bare calls and method.")] = 5,
    out: Annotated[Path | None, typer.Option(help="A JSON file.")] = None,
) -> None:
    """Seconds of a method over the seconds of its bare network calls."""
    from pellucid.bench.overhead import run

    run(size=size, nfe=nfe, operator=operator, prior=prior, repeats=repeats, out=out)
