"""Pictures of an experiment as PNG, for the report: results by key, measurements by theirs, truths by name."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from pellucid.bench.jobs import Job, measurement
from pellucid.bench.plan import Data
from pellucid.images import Picture, write


def keep(folder: Path, job: Job, data: Data, image: Tensor, truth: Tensor, y: Tensor) -> None:
    """Writes what is not there yet; values are clipped to [0, 1] and rounded to 8 bits.

    A truth goes by its picture's name alone: a folder whose pictures have other contents or were cut otherwise is
    refused before (`pellucid.bench.alike`).
    """
    for i, (key, name) in enumerate(zip(job.keys, job.images, strict=True)):
        write(folder / f"{key}.png", Picture(image[i]), "8")
        true, measured = folder / f"truth-{name.name}.png", folder / f"y-{measurement(data, job.level, name)}.png"
        if not true.exists():
            write(true, Picture(truth[i]), "8")
        if y.ndim == 4 and y.shape[1] in (1, 3) and not measured.exists():
            write(measured, Picture(y[i]), "8")
