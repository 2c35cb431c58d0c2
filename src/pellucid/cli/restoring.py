"""The work of `pellucid restore`, picture by picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pellucid.cli.case import Case
from pellucid.cli.progress import Watch, bar
from pellucid.errors import ImageFileError
from pellucid.images import Picture, read
from pellucid.loop import Result, reconstruct
from pellucid.tradeoff import STOPS, Measure, Tradeoff, recorded


@dataclass(frozen=True)
class Recording:
    """What is to be measured of the estimates on the way, if there is a truth, and how many are kept as pictures."""

    measure: Measure | None = None
    stops: int = STOPS


@dataclass(frozen=True)
class Restored:
    """All samples of one picture and what they cost.

    Attributes:
        samples: (n, c, h, w), not clipped.
        nfe, vjp: of the network, for one sample.
        operator_calls: for all of them.
        seconds: wall time of all.
        complete: False if a time limit ended it; then there may also be fewer samples than asked for.
        tradeoff: what the first sample would have been at other stops, if that was asked for.
    """

    samples: Tensor
    nfe: int
    vjp: int
    operator_calls: int
    seconds: float
    complete: bool
    tradeoff: Tradeoff | None = None

    @property
    def mean(self) -> Tensor:
        """The pixelwise mean: the sample itself where there is one."""
        return self.samples.mean(0)

    @property
    def std(self) -> Tensor:
        """The pixelwise standard deviation of the samples: where the measurement says little, it is large."""
        return self.samples.std(0)


def restore(case: Case, title: str, *, quiet: bool, record: Recording | None = None) -> Restored:
    """Draws the samples; sample i has the seed seed + i, whatever else is drawn beside it.

    Args:
        case: the picture.
        title: of the bar.
        quiet: whether there is none.
        record: what is to be told of the first sample's estimates on the way, which then goes it to the end.
    """
    request, at_once = case.setup.request, 1 if record is not None else case.at_once
    results: list[Result] = []
    found: Tradeoff | None = None
    with bar(title, quiet=quiet) as (progress, task):
        watch = Watch(progress, task, math.ceil(request.samples / at_once), case.setup.limit)
        for first in range(0, request.samples, at_once):
            if results and watch.expired:
                break
            watch.round = first // at_once
            count = min(at_once, request.samples - first)
            seeds = range(request.seed + first, request.seed + first + count)
            if record is not None and not first:
                problem = case.problem(1)
                result, (found,) = recorded(
                    problem, case.prior, case.method, seeds, stops=record.stops, measure=record.measure, callback=watch
                )
                results.append(result)
                continue
            results.append(reconstruct(case.problem(count), case.prior, case.method, seeds=seeds, callback=watch))
    samples = torch.cat([result.image.cpu() for result in results])
    if not torch.isfinite(samples).all():
        raise ImageFileError(f"{title}: the result is not finite; the method's settings do not suit this measurement")
    return Restored(
        samples,
        nfe=max(int(result.nfe.max()) for result in results),
        vjp=max(int(result.vjp.max()) for result in results),
        operator_calls=sum(result.operator_calls for result in results),
        seconds=sum(result.seconds for result in results),
        complete=len(samples) == request.samples and all(result.complete for result in results),
        tradeoff=found,
    )


def find_truth(path: Path, source: Path) -> Path:
    """The file to compare with; of a folder, the one with the measurement's name.

    Raises:
        ImageFileError: the folder holds none.
    """
    if not path.is_dir():
        return path
    found = sorted(p for p in path.iterdir() if p.stem == source.stem and p.is_file())
    if not found:
        raise ImageFileError(f"the folder {path} holds no {source.stem}.* to compare with")
    return found[0]


def read_truth(path: Path, case: Case) -> Picture:
    """The picture to compare with.

    Raises:
        ImageFileError: it cannot be read, or has another shape than the result.
    """
    truth = read(path) if case.picture.ct is None else read(path, window=case.picture.ct.window)
    if case.setup.request.max_side and truth.is_image:
        truth = truth.at_most(max(case.operator.image_shape[-2:]))
    if tuple(truth.pixels.shape) != case.operator.image_shape:
        raise ImageFileError(
            f"{path} has the shape {tuple(truth.pixels.shape)}, but the result has {case.operator.image_shape}; "
            "--shape says the result's where the measurement leaves it open"
        )
    return truth


def psnr(image: Tensor, truth: Tensor) -> float:
    """PSNR in dB of one picture (c, h, w) as it is shown: clipped to [0, 1]; at most 120."""
    from pellucid.metrics.pixels import psnr as of_images

    return float(of_images(image[None], truth[None]))
