"""`pellucid tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def tune(
    method: Annotated[str, typer.Argument(help="See `pellucid list methods`.")],
    plan: Annotated[
        Path, typer.Argument(metavar="PLAN.toml", help="Pictures, tasks and priors; see `pellucid bench`.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the study; runs/tune-METHOD-PLAN if not given.")
    ] = None,
    metric: Annotated[str, typer.Option(help="What is made as good as it gets: its mean over all pictures.")] = "psnr",
    trials: Annotated[int, typer.Option(help="In all; a study in the folder is continued.")] = 20,
    grid: Annotated[bool, typer.Option("--grid", help="Go through the papers' values instead of searching.")] = False,
    seed: Annotated[int, typer.Option(help="Of the search.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
) -> None:
    """Find the settings of a method that do best on a plan; write them for `restore --method-config` and plans."""
    from pellucid.bench.plan import Plan
    from pellucid.bench.tune import Tuning
    from pellucid.bench.tune import tune as run

    folder = output if output is not None else Path("runs") / f"tune-{method}-{plan.stem}"
    tuning = Tuning.make(method, Plan.load(plan), metric=metric, seed=seed, grid=grid)
    run(tuning, folder, trials=trials, workers=workers, source=str(plan))
