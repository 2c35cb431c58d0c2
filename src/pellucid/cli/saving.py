"""What a restoration leaves on disk, and the report of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from pellucid.cli.case import Case
from pellucid.cli.console import NOTICE
from pellucid.cli.inputs import Job
from pellucid.cli.restoring import Restored
from pellucid.images import Picture, choose_depth, write


def resolved(case: Case) -> dict[str, Any]:
    """Everything that the result depends on, spelled out: a rerun needs nothing else."""
    options = dict(case.preset.options)
    for kind, defaults in case.preset.by_operator.items():
        options |= defaults if isinstance(case.operator, kind) else {}
    options |= case.setup.options
    if "nfe" in options:
        options["nfe"] = case.nfe
    return {
        **{key: value for key, value in asdict(case.setup.request).items() if key not in ("settings", "nfe")},
        "operator": str(case.setup.spec),
        "method": case.preset.name,
        "options": options,
        "image_shape": list(case.operator.image_shape),
        "measurement_shape": list(case.operator.measurement_shape),
        "tiles": case.tiles,
        "device": case.setup.device,
        "version": version("pellucid"),
    }


def texts(settings: dict[str, Any], seed: int, what: str) -> dict[str, str]:
    """The comments that go into the file."""
    return {
        "Software": f"pellucid {settings['version']}",
        "pellucid:seed": str(seed),
        "pellucid:method": settings["method"],
        "pellucid:what": what,
        "pellucid:settings": json.dumps(settings),
        "pellucid:notice": NOTICE,
    }


def save(case: Case, job: Job, restored: Restored, settings: dict[str, Any], depth: str) -> dict[str, Any]:
    """Writes the result; of several samples their mean, each of them, and their standard deviation."""
    seed, count = case.setup.request.seed, len(restored.samples)
    chosen = choose_depth(job.target, case.picture.depth, depth)

    def put(path: Any, picture: Picture, what: str, seed: int = seed) -> str:
        write(path, picture, chosen, texts(settings, seed, what))
        return str(path)

    if count == 1:
        return {"output": put(job.target, case.picture.with_pixels(restored.mean), "one sample")}
    mean = put(job.target, case.picture.with_pixels(restored.mean), f"mean of {count} samples")
    samples = [
        put(job.sample(i), case.picture.with_pixels(sample), f"sample {i} of {count}", seed + i)
        for i, sample in enumerate(restored.samples)
    ]
    # As a picture, the spread is too small to be seen: white is its largest value, which the file and the report say.
    white = 1.0 if chosen == "float" else max(float(restored.std.max()), 1e-6)
    spread = Picture(restored.std / white, depth=case.picture.depth)
    std = put(job.beside("std"), spread, f"standard deviation of {count} samples, white is {white:.6g}")
    return {"output": mean, "samples": samples, "std": std, "std_white": white}


def cost(restored: Restored) -> dict[str, Any]:
    """What it took, for the report."""
    return {
        "nfe": restored.nfe,
        "vjp": restored.vjp,
        "operator_calls": restored.operator_calls,
        "seconds": round(restored.seconds, 3),
        "complete": restored.complete,
        "samples_drawn": len(restored.samples),
    }
