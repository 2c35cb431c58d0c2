"""What `pellucid upscale` and `pellucid edit` share: what was asked for, the run, and the report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import typer
from torch import Tensor, nn

from pellucid.adapt import Adapter
from pellucid.adapt.training import Loss
from pellucid.cli import adapting
from pellucid.cli.console import NOTICE, duration, note, say
from pellucid.cli.inputs import Job, require_own
from pellucid.cli.progress import Watch, bar
from pellucid.errors import ConfigError, ImageFileError, PellucidError, ProblemError
from pellucid.images import Picture, choose_depth, read, require_writable, write
from pellucid.loop import Callback, Result
from pellucid.prior.base import State
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.stable.adaptation import BATCH
from pellucid.stable.folder import Parts
from pellucid.stable.learning import Learning, adapted, look
from pellucid.stable.tiles import Tiles
from pellucid.typing import Shape
from pellucid.zoo import fast_dtype

if TYPE_CHECKING:
    from pellucid.retrieval import Index, Neighbour

LONG = 5.0  # seconds; a shorter run needs no announcement
SMALLEST_TILE = 64  # pixels
TRAINING = 3  # what a step forwards and backwards costs, in steps forwards


@dataclass(frozen=True)
class Request:
    """The options of both commands that decide what the picture becomes; the names are the command line's."""

    model: Path
    prompt: str
    negative: str
    guidance: float
    nfe: int
    eta: float
    seed: int
    tile: int | None
    max_side: int | None
    device: str
    precision: str
    learning: Learning | None = None

    def check(self) -> None:
        """What can be found out before the model is loaded.

        Raises:
            ConfigError: a number is out of its range, or there is no index, or an empty one.
            PriorError: peft is not installed, or --adapter is no adapter.
        """
        least = {"nfe": 1, "max_side": 8, "tile": SMALLEST_TILE}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest and not (name == "tile" and value == 0):
                also = " (or 0: never cut)" if name == "tile" else ""
                raise ConfigError(f"--{name.replace('_', '-')} must be at least {smallest}{also}, not {value}")
        if not 0 <= self.guidance <= 1000:
            raise ConfigError(f"--guidance must be a number from 0 to 1000, 1 being none, not {self.guidance}")
        if not 0 <= self.eta <= 1:
            raise ConfigError(f"--eta must be a number from 0 to 1, not {self.eta}")
        if self.learning is None:
            return
        adapting.require_possible(self.learning.asked, "", self.precision)
        if self.learning.asked.adapter is not None:
            Adapter.load(self.learning.asked.adapter)

    @property
    def where(self) -> str:
        """The device, auto being resolved. Raises `ConfigError` where it cannot be used."""
        if self.device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        try:
            torch.empty(1, device=self.device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise ConfigError(f"--device {self.device} cannot be used here: {str(error).splitlines()[0]}") from error
        return self.device

    @property
    def autocast(self) -> torch.dtype | None:
        """Dtype of forward passes, None for float32. Raises `ConfigError` for another word."""
        try:
            return {"auto": fast_dtype(self.where), "float32": None, "bfloat16": torch.bfloat16}[self.precision]
        except KeyError:
            raise ConfigError(f"--precision must be auto, float32 or bfloat16, not {self.precision!r}") from None

    def cut(self, parts: Parts) -> Parts:
        """The pipeline with the tiles that were asked for: sides in pixels of the result, a quarter of it overlap."""
        if self.tile is None:
            return parts
        factor = parts.codec.factor
        side = self.tile // factor if self.tile else 2**24
        return parts.in_tiles(Tiles(max(side, 5), max(side // 4, 1)))


@dataclass(frozen=True)
class Outputs:
    """What becomes of the results."""

    depth: str
    dry_run: bool
    json: bool
    adapters: Mapping[Path, Path] = field(default_factory=dict)  # by the picture that they are learned for


@dataclass(frozen=True)
class Task:
    """One picture that is ready.

    Attributes:
        verb: "upscaled" or "edited".
        picture: that was read.
        shape: of the result, (c, h, w).
        seen: of what is made of it in the network; less where a mask leaves most of a large picture as it is.
        parts: of the pipeline.
        settings: of this command alone, for the report.
        find: the nearest pictures of an index.
        loss: of the adaptation to pictures.
        run: the work with a network, watched.
        trial: the prior of one tile of this picture, for the measurement of time.
    """

    verb: str
    picture: Picture
    shape: Shape
    seen: Shape
    parts: Parts
    settings: dict[str, Any]
    find: Callable[[Index, int], list[Neighbour]]
    loss: Callable[[Sequence[Tensor]], Loss]
    run: Callable[[nn.Module, Callback], Result]
    trial: Callable[[Tiles], DiffusionPrior]

    @property
    def latents(self) -> Shape:
        """Shape of what is drawn."""
        return self.parts.codec.shape(self.seen)

    @property
    def tiles(self) -> int:
        """How many tiles the network sees."""
        _, height, width = self.latents
        return len(self.parts.tiles.boxes(height, width, self.parts.multiple))

    def call_seconds(self) -> float:
        """How long one step takes: measured on one tile, the smaller of two measurements."""
        prior = self.trial(self.parts.tiles)
        _, height, width = self.latents
        side, seconds = self.parts.tiles.side, []
        x = torch.zeros(1, self.latents[0], min(height, side), min(width, side), device=self.parts.device)
        t = torch.full((1,), prior.process.t_max / 2, dtype=torch.float64)
        for _ in range(2):
            began = time.perf_counter()
            float(prior.estimate(State(x, t)).x0.sum())  # waits for a GPU
            seconds.append(time.perf_counter() - began)
            if seconds[-1] > 2:
                break
        return min(seconds) * self.tiles

    def training_seconds(self, step: float, request: Request) -> float:
        """Roughly how long an adaptation takes, by what a step of the sampling does (`call_seconds`)."""
        learning = request.learning
        if learning is None or learning.asked.index is None:
            return 0.0
        _, height, width = self.latents
        side, codec = self.parts.tiles.side, self.parts.codec
        passes = self.tiles * min(height, side) * min(width, side) * (1 if request.guidance == 1 else 2)
        return TRAINING * learning.asked.steps * BATCH * (learning.crop / codec.factor) ** 2 * step / passes


def perform(request: Request, jobs: Sequence[Job], outputs: Outputs, prepare: Callable[[Job, Picture], Task]) -> None:
    """All pictures; one that fails does not keep the others from being done.

    Raises:
        PellucidError: the only picture failed.
        typer.Exit: with the first failure's code, after the others of several pictures are done.
    """
    failures = []
    for job in jobs:
        try:
            _one(request, job, outputs, prepare)
        except PellucidError as error:
            if len(jobs) == 1:
                raise
            note(f"pellucid: {error}")
            failures.append(error)
    if not outputs.json:
        say(NOTICE)
    if failures:
        note(f"pellucid: {len(failures)} of {len(jobs)} pictures were not done")
        raise typer.Exit(failures[0].exit_code)


def read_photo(path: Path, max_side: int | None) -> Picture:
    """A photograph.

    Raises:
        ImageFileError: it cannot be read.
        ProblemError: it is a slice of CT, or a measurement that is no picture.
    """
    picture = read(path)
    if not picture.is_image or picture.ct is not None:
        raise ProblemError(
            f"{path} is no photograph; Stable Diffusion knows nothing of CT or of other measurements: take "
            "`pellucid restore` with a prior of that kind"
        )
    return picture if max_side is None else picture.at_most(max_side)


def _one(request: Request, job: Job, outputs: Outputs, prepare: Callable[[Job, Picture], Task]) -> None:
    began = time.perf_counter()
    picture = read_photo(job.source, request.max_side)
    require_writable(job.target, is_image=True, has_alpha=picture.alpha is not None, channels=picture.pixels.shape[0])
    require_own(job.target)
    chosen = choose_depth(job.target, picture.depth, outputs.depth)
    task = prepare(job, picture)
    task.parts.sampler.method(request.nfe, request.eta).grid.top(task.parts.process)  # refuses too many steps
    settings = _settings(request, task)
    step, found = task.call_seconds(), look(request.learning, task.find)
    training = task.training_seconds(step, request)
    report: dict[str, Any] = {"input": str(job.source), "output": str(job.target)}
    report |= {"predicted_seconds": round(request.nfe * step + training, 2), "settings": settings}
    if outputs.dry_run:
        report |= {} if found is None else {"adaptation": {"neighbours": found.listed}}
        say(json.dumps(report) if outputs.json else _plan(report, training))
        return
    if report["predicted_seconds"] > LONG and not outputs.json:
        tiles = f" in {task.tiles} tiles" if task.tiles > 1 else ""
        part = f", of which the adaptation {duration(training)}" if training else ""
        note(f"{job.source.name}{tiles}: about {duration(report['predicted_seconds'])}{part}")
    save = outputs.adapters.get(job.source)
    network, adaptation = adapted(
        task.parts,
        request.learning,
        found,
        task.loss,
        request.seed,
        model=request.model.name,
        save=save,
        title=job.source.name,
        quiet=outputs.json,
    )
    with bar(job.source.name, quiet=outputs.json) as (progress, line):
        result = task.run(network, Watch(progress, line, 1, None))
    pixels = result.image[0].cpu()
    if not torch.isfinite(pixels).all():
        raise ImageFileError(
            f"{job.source.name}: the result is not finite; try --precision float32, or a smaller --guidance"
        )
    if adaptation is not None:
        settings["adapt"] |= adaptation.learned.words
    write(job.target, task.picture.with_pixels(pixels), chosen, _texts(request, task, settings))
    report |= {
        "nfe": int(result.nfe.max()),
        "seconds": round(result.seconds, 3),
        **({} if adaptation is None else {"adaptation": adaptation.report}),
        "notice": NOTICE,
        "total_seconds": round(time.perf_counter() - began, 3),
    }
    text = [] if adaptation is None else [adaptation.text]
    text += [f"with the adapter {settings['adapt']['adapter']}"] if "adapter" in settings.get("adapt", {}) else []
    say(json.dumps(report) if outputs.json else "\n".join([_summary(report, task), *text]))


def _settings(request: Request, task: Task) -> dict[str, Any]:
    """Everything that the result depends on, spelled out."""
    given = {key: value for key, value in vars(request).items() if key not in ("tile", "learning")}
    return {
        **{key: str(value) if isinstance(value, Path) else value for key, value in given.items()},
        **task.settings,
        **({} if request.learning is None else {"adapt": request.learning.words}),
        "image_shape": list(task.shape),
        "tiles": task.tiles,
        "device": task.parts.device,
        "version": version("pellucid"),
    }


def _texts(request: Request, task: Task, settings: dict[str, Any]) -> dict[str, str]:
    """The comments that go into the file; of folders only the names, as folders are named after people."""
    public = {**settings, "model": request.model.name}
    if "mask" in public:
        public["mask"] = Path(str(public["mask"])).name
    if "adapt" in public:
        places = {key: Path(str(public["adapt"][key])).name for key in ("adapter", "index") if key in public["adapt"]}
        public["adapt"] = {**public["adapt"], **places}
    how = " with an adapted network" if request.learning else ""
    return {
        "Software": f"pellucid {settings['version']}",
        "Description": f"{task.verb.capitalize()} by pellucid {settings['version']}: model {request.model.name}{how}",
        "pellucid:seed": str(request.seed),
        "pellucid:settings": json.dumps(public),
        "pellucid:notice": NOTICE,
    }


def _plan(report: dict[str, Any], training: float) -> str:
    lines = {
        "input": report["input"],
        "output": report["output"],
        **{key: value for key, value in report["settings"].items() if value not in (None, "") and key != "adapt"},
        **{f"adapt {key}": value for key, value in report["settings"].get("adapt", {}).items()},
    }
    if found := report.get("adaptation", {}).get("neighbours"):
        lines["adapts to"] = f"{len(found)} pictures; the nearest is {found[0]['name']} at {found[0]['distance']:.3g}"
    part = f", of which the adaptation {duration(training)}" if training else ""
    lines["predicted time"] = f"{duration(report['predicted_seconds'])}{part}"
    return "\n".join(f"{key:18s} {value}" for key, value in lines.items()) + "\nnothing was written"


def _summary(report: dict[str, Any], task: Task) -> str:
    _, height, width = task.shape
    calls, took = f"{report['nfe']} network calls", duration(report["seconds"])
    return f"{report['output']}: {task.verb}, {width} x {height}, {calls}, {took}"
