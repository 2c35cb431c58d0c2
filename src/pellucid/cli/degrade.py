"""`pellucid degrade`."""

from __future__ import annotations

import json as json_module

import typer

from pellucid.cli.console import note
from pellucid.cli.options import (
    Depth,
    Gain,
    Inputs,
    Json,
    KeepIdentity,
    MaxSide,
    Noise,
    OperatorText,
    Output,
    Photons,
    Seed,
    Window,
)


def degrade(
    pictures: Inputs,
    output: Output = None,
    operator: OperatorText = "identity",
    noise: Noise = 0.0,
    gain: Gain = None,
    photons: Photons = None,
    seed: Seed = 0,
    max_side: MaxSide = None,
    depth: Depth = "auto",
    window: Window = None,
    keep_identity: KeepIdentity = False,
    json: Json = False,
) -> None:
    """Make measurements y = A(x) + noise of pictures.

    A PNG clips to [0, 1] and rounds, to 8 bits by default and to 16 with --depth 16; a .tif keeps the values as they
    are (floating point). Measurements that are no pictures go to .npy or .npz files. CT slices (.dcm, .npz with hu) are
    measured in [0, 1], where 0 is -1000 and 1 is 1000 Hounsfield units, and go to .npz files if no name is given.
    """
    from pellucid.cli.degrading import Degradation
    from pellucid.cli.inputs import jobs, require_identity
    from pellucid.cli.settings import poisson_gain
    from pellucid.errors import PellucidError
    from pellucid.images.hu import display_window

    shown = None if window is None else display_window(window)
    work = Degradation(operator, noise, seed, max_side, poisson_gain(gain, photons))
    pairs = jobs(pictures, output, "degraded", depth, measure=True)
    require_identity(pairs, keep_identity)
    failures = []
    for job in pairs:
        try:
            report = work.run(job, depth, shown, keep_identity=keep_identity)
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
