"""Seconds of methods that take turns on the same pictures in one process, so that a busy machine slows all alike."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from pellucid import methods
from pellucid.bench.claims.results import save_table
from pellucid.bench.data import collect, stacked
from pellucid.bench.plan import Data
from pellucid.loop import reconstruct
from pellucid.operators import parse
from pellucid.prior.base import Prior
from pellucid.problem import Problem

COLUMNS = ("image", "size", "label", "nfe", "seconds", "processor_seconds")


def study(
    prior: Prior, data: Data, operator: str, runs: Sequence[tuple[str, int]], out: Path, repeats: int = 1
) -> None:
    """Times (method, nfe) pairs, one picture at a time, each run once before anything is timed.

    Wall time, and the processor's time of this process, which another program's work does not change.
    """
    rows = []
    images = collect(data)
    for turn in range(-1, repeats * len(images)):  # turn -1 compiles and warms up
        image = images[turn % len(images)]
        x = stacked(data, [image])
        a = parse(operator).build(tuple(x.shape[1:]))
        problem = Problem(a(x), a)
        for name, nfe in runs:
            method = methods.get(name).build(nfe if turn >= 0 else 4, a)
            wall, processor = time.perf_counter(), time.process_time()
            result = reconstruct(problem, prior, method, seeds=0)
            cost = {"seconds": time.perf_counter() - wall, "processor_seconds": time.process_time() - processor}
            if turn >= 0:
                label = {"image": image.name, "size": x.shape[-1], "label": f"{name}-{nfe}", "nfe": int(result.nfe[0])}
                rows.append({**label, **cost})
    save_table(out, rows, COLUMNS)
