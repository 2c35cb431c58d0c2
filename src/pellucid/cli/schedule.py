"""`pellucid schedule`."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pellucid.cli.console import duration, note

if TYPE_CHECKING:
    from torch import Tensor

    from pellucid.operators.families import BlurFamily, MaskFamily

SCHEDULED = ("blur", "hole")
ENDS = {"blur": (0.3, 3.0), "hole": (0.1, 50 / 256)}  # of a hole the widest is a share of the picture's side


def schedule(
    family: Annotated[str, typer.Argument(help="The degradation: blur or hole.")],
    data: Annotated[Path, typer.Option(metavar="DIR", help="A folder of clean pictures.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.json", help="Where the schedule goes.")],
    metric: Annotated[
        str, typer.Option(help="What is to be lost evenly: mse, ssim, or a distance of `pellucid compare`.")
    ] = "effnet_distance",
    points: Annotated[int, typer.Option(min=2, help="Of the schedule, its ends among them.")] = 102,
    candidates: Annotated[
        int, typer.Option(min=2, help="Widths that the points are taken from, evenly spaced.")
    ] = 2000,
    narrowest: Annotated[
        float | None, typer.Option(min=0, help="Its std at t = 0, in pixels; 0.3 for a blur, 0.1 for a hole.")
    ] = None,
    widest: Annotated[
        float | None, typer.Option(min=0, help="At t = 1; 3 for a blur, 50 / 256 of the side for a hole.")
    ] = None,
    pictures: Annotated[int | None, typer.Option(min=1, help="The first so many; all if not given.")] = None,
    size: Annotated[int, typer.Option(min=1, help="Their largest square is reduced to this side.")] = 256,
    search: Annotated[
        str,
        typer.Option(
            help="bisect: quick, for distances that rise with what is lost; all: every candidate is compared."
        ),
    ] = "bisect",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No bar.")] = False,
) -> None:
    """Choose how fast a degradation grows with time, so that every step loses equally much: Dirac's greedy schedule.

    A configuration of `pellucid train dirac` takes the file as family = "blur:schedule=FILE.json" (or hole).
    """
    from importlib.metadata import version

    import torch

    from pellucid.bench.data import collect, stacked
    from pellucid.bench.plan import Data
    from pellucid.cli.progress import bar
    from pellucid.errors import ConfigError
    from pellucid.images.atomic import require_folder
    from pellucid.operators.families.knots import value_at
    from pellucid.operators.families.named import blur_family, hole_family
    from pellucid.operators.families.schedule_file import Schedule
    from pellucid.operators.families.scheduling import Search
    from pellucid.operators.families.scheduling import schedule as scheduled

    if family not in SCHEDULED:
        raise ConfigError(f"a schedule can be made for {', '.join(SCHEDULED)}, not for {family!r}")
    if output.suffix.lower() != ".json":
        raise ConfigError(f"a schedule is a .json file, not {output.name}")
    low, high = ENDS[family]
    narrowest = low if narrowest is None else narrowest
    widest = high * (size if family == "hole" else 1) if widest is None else widest
    if not narrowest < widest:
        raise ConfigError(f"widest must be above narrowest, not {widest:g} and {narrowest:g}")
    searches: dict[str, Search] = {"all": "all", "bisect": "bisect"}
    if search not in searches:
        raise ConfigError(f"search is one of {', '.join(searches)}, not {search!r}")
    if points > candidates:
        raise ConfigError(f"{points} points cannot be taken from {candidates} candidates")
    require_folder(output.absolute().parent)
    distance, statement = distance_of(metric)
    chosen_data = Data(data, size, "square", pictures)
    images = collect(chosen_data)
    x = stacked(chosen_data, images)
    shape = tuple(x.shape[1:])
    path: BlurFamily | MaskFamily
    if family == "blur":
        path = blur_family(shape, widest, narrowest, "linear")
    else:
        path = hole_family(shape, widest, narrowest)
    times = torch.linspace(0, 1, candidates, dtype=torch.float64).tolist()
    distance(x[:1], x[:1])  # weights that are missing are found out before the work
    began = time.perf_counter()
    with bar(f"{family}, {len(x)} pictures", quiet=quiet) as (progress, task):

        def told(done: int, distances: int) -> None:
            progress.update(task, completed=done, total=points - 2, calls=f"{distances} distances")

        found, chosen = scheduled(path.at, x, distance, times, points - 2, search=searches[search], told=told)
    # The widths themselves: a family of holes has none at t = 0, though it comes from its narrowest.
    stds = [round(std, 12) for std in value_at(path.stds, torch.tensor(found, dtype=torch.float64)).tolist()]
    about = {
        "algorithm": "greedy, DiracDiffusion (ICML 2024), Algorithm 2",
        "metric": metric,
        "metric_statement": statement,
        "largest_gap": max(chosen.gaps),
        "distances": chosen.distances,
        "search": search,
        "candidates": {"count": candidates, "first": narrowest, "last": widest, "spacing": "even"},
        "budget": points - 2,
        "data": {
            "folder": str(data),
            "pictures": len(images),
            "size": size,
            "crop": "square",
            "sha256": {image.path.name: image.sha256 for image in images},
        },
        "seconds": round(time.perf_counter() - began, 1),
        "version": version("pellucid"),
        "command": "pellucid " + shlex.join(sys.argv[1:]),
    }
    Schedule(family, "std", tuple(stds), about).write(output)
    note(f"{chosen.distances} distances of {len(x)} pictures, {duration(time.perf_counter() - began)}")
    print(f"{output}: {len(stds)} points, largest gap {max(chosen.gaps):.4g} ({metric})")


def distance_of(name: str) -> tuple[Callable[[Tensor, Tensor], Tensor], str]:
    """(A distance of two batches of pictures, what it is): mse, 1 - ssim, or a metric that is 0 for equal pictures.

    Raises:
        UnknownNameError: there is no such metric.
        ConfigError: it is none of two pictures.
    """
    from pellucid.errors import ConfigError
    from pellucid.metrics import get

    if name == "mse":
        return lambda x, y: (x - y).square().flatten(1).mean(1), "mean squared error over channels and pixels"
    metric = get(name)
    if not (metric.needs_truth and metric.per_image) or metric.name == "psnr":
        raise ConfigError(f"{name} is no distance of two pictures; take mse, ssim, lpips-vgg or effnet_distance")
    if metric.better == "higher":
        return lambda x, y: 1 - metric(x, y), f"1 - {metric.text()}"
    return lambda x, y: metric(x, y), metric.text()
