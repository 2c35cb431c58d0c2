"""What a restoration leaves on disk, and the report of it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pellucid.budget import severity_start
from pellucid.cli.case import Case
from pellucid.cli.console import NOTICE
from pellucid.cli.inputs import Job
from pellucid.cli.restoring import Restored
from pellucid.images import Picture, choose_depth, write
from pellucid.images.arrays import HU, UNIT
from pellucid.images.ct import CT


def resolved(case: Case) -> dict[str, Any]:
    """Everything that the result depends on, spelled out: a rerun needs nothing else."""
    options, adapt = dict(case.preset.options), case.setup.request.adapt
    for kind, defaults in case.preset.by_operator.items():
        options |= defaults if isinstance(case.operator, kind) else {}
    options |= case.setup.options
    if "nfe" in options:
        options["nfe"] = case.nfe
    return {
        **{key: value for key, value in asdict(case.setup.request).items() if key not in ("settings", "nfe", "adapt")},
        **({} if adapt is None else {"adapt": adapt.words | ({} if case.learned is None else case.learned.words)}),
        "operator": case.setup.operator_text,
        **({} if case.estimated is None else {"operator_estimated": str(case.estimated)}),
        "method": case.preset.name,
        "options": options,
        "image_shape": list(case.operator.image_shape),
        "measurement_shape": list(case.operator.measurement_shape),
        "tiles": case.tiles,
        "device": case.setup.device,
        "version": version("pellucid"),
    }


def units(
    target: Path, ct: CT | None, window: tuple[float, float] | None, *, is_picture: bool = True
) -> dict[str, Any]:
    """What the values of a result are, for the report.

    `unit` is "HU" or "[0, 1]"; of CT in a format of [0, 1], `black_hu` and `white_hu` are the Hounsfield units of 0 and
    1 (white is the largest number of an integer format).
    """
    if ct is None:
        return {"unit": UNIT}
    if target.suffix.lower() in (".npz", ".dcm") and is_picture:
        return {"unit": HU}
    low, high = window or ct.window
    return {"unit": UNIT, "black_hu": low, "white_hu": high}


def description(settings: dict[str, Any], what: str) -> str:
    """A sentence that says how a picture was made, without the folders that its parts lie in."""
    method, prior = (Path(str(settings[key])).name for key in ("method", "prior"))
    operator = without_folders(settings["operator"])
    return (
        f"Reconstructed by pellucid {settings['version']}: method {method}, prior {prior}, operator {operator}, {what}"
    )


def without_folders(operator: str) -> str:
    """An operator's text with the names of files alone: folders are named after people."""
    quoted = re.sub(r'="(?:[^"]|"")*[/\\]', '="', operator)
    return re.sub(r'=[^\[\],"]*[/\\]', "=", quoted)


def texts(settings: dict[str, Any], seed: int, what: str) -> dict[str, str]:
    """The comments that go into the file."""
    return {
        "Software": f"pellucid {settings['version']}",
        "Description": description(settings, what),
        "pellucid:seed": str(seed),
        "pellucid:method": settings["method"],
        "pellucid:what": what,
        "pellucid:settings": json.dumps(settings),
        "pellucid:notice": NOTICE,
    }


def save(
    case: Case,
    job: Job,
    restored: Restored,
    settings: dict[str, Any],
    depth: str,
    window: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Writes the result; of several samples their mean, each of them, and their standard deviation.

    Args:
        case, job, restored: what was done.
        settings: as `resolved` gives them.
        depth: of the values.
        window: Hounsfield units of black and white, for CT in formats to look at.
    """
    seed, count = case.setup.request.seed, len(restored.samples)
    chosen = choose_depth(job.target, case.picture.depth, depth)

    def put(path: Any, picture: Picture, what: str, seed: int = seed) -> str:
        write(path, picture, chosen, texts(settings, seed, what), None if picture.quantity == "spread" else window)
        return str(path)

    if count == 1:
        return {"output": put(job.target, case.picture.with_pixels(restored.mean), "one sample")}
    mean = put(job.target, case.picture.with_pixels(restored.mean), f"mean of {count} samples")
    samples = [
        put(job.sample(i), case.picture.with_pixels(sample), f"sample {i} of {count}", seed + i)
        for i, sample in enumerate(restored.samples)
    ]
    # As a picture, the spread is too small to be seen: white is its largest value, which the file and the report say.
    absolute = chosen == "float" or job.target.suffix.lower() == ".dcm"
    white = 1.0 if absolute else max(float(restored.std.max()), 1e-6)
    like = case.picture.with_pixels(restored.std / white)
    spread = Picture(like.pixels, depth=like.depth, ct=like.ct, quantity="spread")
    in_hu = units(job.target, like.ct, window)["unit"] == HU
    scale = "in Hounsfield units" if in_hu else f"white is {white:.6g}"
    std = put(job.beside("std"), spread, f"standard deviation of {count} samples, {scale}")
    return {"output": mean, "samples": samples, "std": std, "std_white": white}


def severity(case: Case) -> dict[str, Any]:
    """Where the picture begins by its predicted severity, for the report; nothing for methods that begin elsewhere.

    `begins_at` is a time of `of_time`, `steps` are those that are left of `of_steps`.
    """
    found = case.severity
    if found is None:
        return {}
    words = {"s2": float(f"{float(found.s2):.6g}"), "begins_at": float(found.t), "of_time": case.prior.process.t_max}
    return {"severity": {**words, "steps": int(found.steps), "of_steps": found.full, "share": _share(case)}}


def _share(case: Case) -> float:
    return severity_start(case.method).share


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
