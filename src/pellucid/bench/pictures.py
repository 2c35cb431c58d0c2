"""Pictures of an experiment as PNG, for the report: results by key, truths and measurements once."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from pellucid.bench.jobs import Job
from pellucid.images import Picture, write


def keep(folder: Path, job: Job, image: Tensor, truth: Tensor, y: Tensor) -> None:
    """Writes what is not there yet; values are clipped to [0, 1] and rounded to 8 bits."""
    for i, (key, name) in enumerate(zip(job.keys, job.images, strict=True)):
        write(folder / f"{key}.png", Picture(image[i]), "8")
        true, measured = folder / f"truth-{name.name}.png", folder / measured_name(job, i)
        if not true.exists():
            write(true, Picture(truth[i]), "8")
        if y.ndim == 4 and y.shape[1] in (1, 3) and not measured.exists():
            write(measured, Picture(y[i]), "8")


def measured_name(job: Job, i: int) -> str:
    """The file of a measurement: of the task, its noise level and the picture."""
    noise = str(job.level.noise).replace(" ", "")
    return f"y-{job.level.task.name}-{noise}-{job.images[i].name}.png"
