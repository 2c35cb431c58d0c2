"""`pellucid degrade`."""

from __future__ import annotations

import json as json_module

import typer

from pellucid.cli.console import note
from pellucid.cli.options import Depth, Inputs, Json, MaxSide, Noise, OperatorText, Output, Seed


def degrade(
    pictures: Inputs,
    output: Output = None,
    operator: OperatorText = "identity",
    noise: Noise = 0.0,
    seed: Seed = 0,
    max_side: MaxSide = None,
    depth: Depth = "auto",
    json: Json = False,
) -> None:
    """Make measurements y = A(x) + noise of pictures.

    A PNG clips to [0, 1] and rounds, to 8 bits by default and to 16 with --depth 16; a .tif keeps the values as they
    are (floating point). Measurements that are no pictures go to .npy files.
    """
    from pellucid.cli.degrading import Degradation
    from pellucid.cli.inputs import jobs
    from pellucid.errors import PellucidError

    pairs = jobs(pictures, output, "degraded", depth)
    work = Degradation(operator, noise, seed, max_side)
    failures = []
    for job in pairs:
        try:
            report = work.run(job, depth)
        except PellucidError as error:  # of several pictures, one that fails does not keep the others
            if len(pairs) == 1:
                raise
            note(f"pellucid: {error}")
            failures.append(error)
        else:
            print(json_module.dumps(report) if json else work.summary(report))
    if failures:
        note(f"pellucid: {len(failures)} of {len(pairs)} pictures were not degraded")
        raise typer.Exit(failures[0].exit_code)
