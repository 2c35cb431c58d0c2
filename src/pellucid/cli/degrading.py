"""The work of `pellucid degrade`."""

from __future__ import annotations

import json
import math
from importlib.metadata import version
from typing import Any

from torch import Tensor

from pellucid.cli.inputs import Job
from pellucid.errors import ConfigError, ProblemError
from pellucid.images import Depth, choose_depth, read, write
from pellucid.noise import SeededNoise
from pellucid.operators.text import Spec, parse


class Degradation:
    """y = A(x) + noise, of any picture.

    Args:
        operator: its text.
        noise: standard deviation, white is 1.
        seed: of the noise.
        max_side: reduce larger pictures first.

    Raises:
        ProblemError: the noise is negative or not finite.
        ConfigError: `max_side` is too small to be meant.
        OperatorError: the text is wrong.
    """

    def __init__(self, operator: str, noise: float, seed: int, max_side: int | None = None) -> None:
        if not (math.isfinite(noise) and noise >= 0):
            raise ProblemError(f"--noise must be finite and not negative, not {noise}")
        if max_side is not None and max_side < 8:
            raise ConfigError(f"--max-side must be at least 8, not {max_side}")
        self.spec: Spec = parse(operator)
        self.noise, self.seed, self.max_side = noise, seed, max_side

    def measure(self, pixels: Tensor) -> Tensor:
        """(c, h, w) -> y of one picture."""
        y = self.spec.build(tuple(pixels.shape))(pixels[None])
        y = y + self.noise * SeededNoise([self.seed]).normal(y, 0, "measurement")
        if not y.isfinite().all():
            raise ProblemError("the measurement is beyond what floating-point numbers hold; less noise or contrast")
        return y[0]

    def run(self, job: Job, depth: str) -> dict[str, Any]:
        """Reads, measures, writes; what was done, for the report."""
        picture = read(job.source)
        if self.max_side and picture.is_image:
            picture = picture.at_most(self.max_side)
        y = self.measure(picture.pixels)
        measured = picture.with_pixels(y) if y.ndim == 3 else type(picture)(y)
        # More bits than the picture had: the noise and the blur have values in between.
        chosen: Depth = choose_depth(job.target, picture.depth, depth)
        if depth == "auto" and job.target.suffix.lower() in (".tif", ".tiff"):
            chosen = "float"
        settings = {
            "operator": str(self.spec),
            "noise": self.noise,
            "seed": self.seed,
            "max_side": self.max_side,
            "version": version("pellucid"),
        }
        write(job.target, measured, chosen, {"pellucid:degraded": json.dumps(settings)})
        clipped = 0.0 if chosen == "float" else float(((y < 0) | (y > 1)).float().mean())
        return {
            "input": str(job.source),
            "output": str(job.target),
            "depth": chosen,
            "clipped": round(clipped, 6),
            "image_shape": list(picture.pixels.shape),
            "measurement_shape": list(y.shape),
            "settings": settings,
        }

    def summary(self, report: dict[str, Any]) -> str:
        """The report, for people."""
        text = f"{report['output']}: {self.spec}, noise {self.noise:g}"
        if report["depth"] == "float":
            return f"{text}, floating point"
        return f"{text}, {report['depth']} bits: rounded, {report['clipped']:.1%} of the values clipped to [0, 1]"
