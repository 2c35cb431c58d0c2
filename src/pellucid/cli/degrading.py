"""The work of `pellucid degrade`."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from pellucid.cli.inputs import Job
from pellucid.cli.saving import units, without_folders
from pellucid.cli.sinograms import gives_pictures
from pellucid.errors import ConfigError, ProblemError
from pellucid.images import Depth, Picture, choose_depth, read, write
from pellucid.images.write import require_window
from pellucid.noise import SeededNoise
from pellucid.operators.text import Spec, parse


class Degradation:
    """y = A(x) + noise, of any picture.

    Args:
        operator: its text.
        noise: standard deviation, white is 1.
        seed: of the noise.
        max_side: reduce larger pictures first.
        gain: of Poisson noise, whose variance is gain A(x); 0 for none.

    Raises:
        ProblemError: the noise or the gain is negative or not finite.
        ConfigError: `max_side` is too small to be meant.
        OperatorError: the text is wrong.
    """

    def __init__(self, operator: str, noise: float, seed: int, max_side: int | None = None, gain: float = 0.0) -> None:
        for name, level in (("noise", noise), ("gain", gain)):
            if not (math.isfinite(level) and level >= 0):
                raise ProblemError(f"--{name} must be finite and not negative, not {level}")
        if max_side is not None and max_side < 8:
            raise ConfigError(f"--max-side must be at least 8, not {max_side}")
        self.spec: Spec = parse(operator)
        self.noise, self.seed, self.max_side, self.gain = noise, seed, max_side, gain

    def measure(self, pixels: Tensor) -> Tensor:
        """(c, h, w) -> y of one picture."""
        y = self.spec.build(tuple(pixels.shape))(pixels[None])
        if self.gain:
            y = poisson(y, self.gain, self.seed)
        y = y + self.noise * SeededNoise([self.seed]).normal(y, 0, "measurement")
        if not y.isfinite().all():
            raise ProblemError("the measurement is beyond what floating-point numbers hold; less noise or contrast")
        return y[0]

    def run(
        self, job: Job, depth: str, window: tuple[float, float] | None = None, *, keep_identity: bool = False
    ) -> dict[str, Any]:
        """Reads, measures, writes; what was done, for the report."""
        picture = read(job.source, keep_identity=keep_identity)
        require_window(job.target, window, is_ct=picture.ct is not None)
        picture, outside = _within_window(picture)
        if self.max_side and picture.is_image:
            picture = picture.at_most(self.max_side)
        y = self.measure(picture.pixels)
        measured = picture.with_pixels(y) if y.ndim == 3 and gives_pictures(self.spec) else picture.measured(y)
        # More bits than the picture had: the noise and the blur have values in between.
        chosen: Depth = choose_depth(job.target, picture.depth, depth)
        if depth == "auto" and job.target.suffix.lower() in (".tif", ".tiff"):
            chosen = "float"
        settings = {
            "operator": str(self.spec),
            "noise": self.noise,
            "gain": self.gain,
            "seed": self.seed,
            "max_side": self.max_side,
            "version": version("pellucid"),
        }
        write(job.target, measured, chosen, self._texts(settings), window)
        unit = units(job.target, measured.ct, window, is_picture=measured.quantity == "picture")
        shown = y if measured.ct is None or window is None else measured.ct.shown(y, window)
        clipped = (
            0.0 if chosen == "float" or unit["unit"] == "HU" else float(((shown < 0) | (shown > 1)).float().mean())
        )
        return {
            "input": str(job.source),
            "output": str(job.target),
            "depth": chosen,
            "clipped": round(clipped, 6),
            **unit,
            **({} if outside is None else {"outside_window": round(outside, 6)}),
            "image_shape": list(picture.pixels.shape),
            "measurement_shape": list(y.shape),
            "settings": settings,
        }

    def summary(self, report: dict[str, Any]) -> str:
        """The report, for people."""
        poisson = f", Poisson noise of gain {self.gain:g}" if self.gain else ""
        text = f"{report['output']}: {self.spec}, noise {self.noise:g}{poisson}"
        if "outside_window" in report:
            text += f", in [0, 1] for -1000 to 1000 HU ({report['outside_window']:.1%} of the pixels clipped to it)"
        if report["unit"] == "HU":
            return f"{text}, values in HU"
        if report["depth"] == "float":
            return f"{text}, floating point"
        low, high = (
            f"{report[key]:g} HU" if key in report else end for key, end in (("black_hu", "0"), ("white_hu", "1"))
        )
        return (
            f"{text}, {report['depth']} bits: rounded, {report['clipped']:.1%} of the values clipped to [{low}, {high}]"
        )

    def _texts(self, settings: dict[str, Any]) -> dict[str, str]:
        made = f"Degraded by pellucid {settings['version']}: operator {without_folders(str(self.spec))}"
        return {
            "pellucid:degraded": json.dumps(settings),
            "Description": f"{made}, noise {self.noise:g}, gain {self.gain:g}",
        }


def poisson(mean: Tensor, gain: float, seed: int) -> Tensor:
    """gain Poisson(mean / gain), (b, ...): mean `mean`, variance gain * mean; entries below 0 stay as they are.

    The draw is a function of the seed and the shape: a measurement can be made again.
    """
    key = hashlib.blake2b(f"{seed}/measurement/poisson".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(key, "little", signed=True))
    counts = torch.poisson(mean.double().cpu().clamp(min=0) / gain, generator=generator)
    return (gain * counts + mean.double().cpu().clamp(max=0)).to(mean)


def _within_window(picture: Picture) -> tuple[Picture, float | None]:
    """A CT picture clipped to [0, 1], which priors know, and the fraction that lay outside; None if it is not CT."""
    if picture.ct is None or not picture.is_image:
        return picture, None
    clipped = picture.pixels.clamp(0, 1)
    return replace(picture, pixels=clipped), float((clipped != picture.pixels).float().mean())
