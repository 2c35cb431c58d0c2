"""`pellucid restore --adapt`: the prior is adapted to every picture before that is restored."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.cli.console import duration, note
from pellucid.errors import CompatibilityError, ConfigError, PriorError

if TYPE_CHECKING:
    from torch import Tensor

    from pellucid.account import Cost
    from pellucid.adapt import Adaptation, AdaptedPrior
    from pellucid.cli.case import Case
    from pellucid.cli.inputs import Job
    from pellucid.methods import Preset
    from pellucid.prior.base import Prior
    from pellucid.prior.diffusion import DiffusionPrior
    from pellucid.retrieval import Index, Neighbour

NONE = "none"
QUERIES = ("y", "x", "both")
# A quarter of the paper's steps at ten times its rate: docs/reproduction.md, claim A1, has what fewer give.
STEPS, RATE = 100, 1e-3
COMPILED = ("openvino", "onnxruntime")
SUFFIX = ".safetensors"
UNKNOWN_LICENCE = "unknown"


@dataclass(frozen=True)
class Wanted:
    """What the options of adaptation ask for.

    Attributes:
        index: where neighbours are looked for; None for nowhere.
        neighbours: how many.
        steps, lr: of the training.
        own: learn from y as a picture, too.
        query: "y" as a picture, "x", a first reconstruction, or "both".
        adapter: a file of an adapter that is taken as it is.
        save: where adapters go.
        cache: the folder of what was learned before; None for none.
    """

    index: str | None = None
    neighbours: int = 20
    steps: int = STEPS
    lr: float = RATE
    own: bool = False
    query: str = "y"
    adapter: Path | None = None
    save: Path | None = None
    cache: Path | None = None

    def how(self, seed: int) -> Adaptation:
        """For `pellucid.adapt.adapt`. Raises `CompatibilityError` for numbers out of their range."""
        from pellucid.adapt import Adaptation, Training

        return Adaptation(training=Training(self.steps, self.lr, seed), own=self.own)

    @property
    def words(self) -> dict[str, Any]:
        """For the settings."""
        if self.adapter is not None:
            return {"adapter": str(self.adapter)}
        searched: dict[str, Any] = {}
        if self.index is not None:
            about = opened(self.index).about
            searched = {"index": self.index, "embedder": about.embedder, "neighbours": self.neighbours}
            searched["query"] = self.query
        return {**searched, "steps": self.steps, "lr": self.lr, "own": self.own}


@dataclass(frozen=True)
class Found:
    """What the prior is to learn from, beside the measurement itself.

    Attributes:
        neighbours: nearest first.
        pictures: theirs, (3, h, w) each.
        seconds: that looking for them took, with the first reconstruction if there was one.
    """

    neighbours: tuple[Neighbour, ...] = ()
    pictures: tuple[Tensor, ...] = ()
    seconds: float = 0.0

    @property
    def listed(self) -> list[dict[str, Any]]:
        """The neighbours, for --json."""
        return [
            {"name": n.name, "distance": round(n.distance, 6), "licence": n.licence, "source": n.source, "id": n.id}
            for n in self.neighbours
        ]

    @property
    def licences(self) -> dict[str, int]:
        """How many of the neighbours have which licence."""
        return dict(Counter(one.licence or UNKNOWN_LICENCE for one in self.neighbours).most_common())


@dataclass(frozen=True)
class Learned:
    """What a prior has been adapted to, and what it took."""

    found: Found
    own: bool
    cost: Cost
    saved: Path | None = None

    @property
    def words(self) -> dict[str, Any]:
        """For the settings that are saved with the picture: results derive from the neighbours, under their terms."""
        return {
            "steps_taken": self.cost.steps,
            "seconds": round(self.cost.seconds, 3),
            "cached": self.cost.cached,
            "used": len(self.found.neighbours),
            "licences": self.found.licences,
        }

    @property
    def report(self) -> dict[str, Any]:
        """For --json."""
        saved = {} if self.saved is None else {"adapter": str(self.saved)}
        searched = {"search_seconds": round(self.found.seconds, 3), "neighbours": self.found.listed}
        return {**self.words, **searched, "own": self.own, **saved}

    @property
    def text(self) -> str:
        """A line for people."""
        parts = [f"{len(self.found.neighbours)} neighbours"] if self.found.neighbours else []
        parts += ["the measurement"] if self.own else []
        took = f"{self.cost.steps} steps, {duration(self.cost.seconds)}"
        took = f"learned before ({took}) and kept" if self.cost.cached else took
        terms = ", ".join(f"{count} {name}" for name, count in self.found.licences.items())
        line = f"adapted to {' and '.join(parts)}: {took}" + (f"; licences: {terms}" if terms else "")
        return line if self.saved is None else f"{line}\n{self.saved}: the adapter"


def wanted(
    index: str | None,
    neighbours: int | None,
    steps: int | None,
    lr: float | None,
    own: bool,
    query: str | None,
    adapter: Path | None,
    save: Path | None,
    cache: bool,
) -> Wanted | None:
    """The options, understood; None where no adaptation is asked for.

    Args:
        index: of --adapt.
        neighbours, steps, lr, query: None where they are not given.
        own: of --adapt-own.
        adapter, save: of --adapter and --save-adapter.
        cache: whether adapters are kept.

    Raises:
        ConfigError: options that contradict each other, or are out of their range.
    """
    searched = index is not None and index != NONE
    given: dict[str, Any] = {"--neighbours": neighbours, "--adapt-query": query, "--adapt-steps": steps}
    given |= {"--adapt-lr": lr, "--save-adapter": save}
    if adapter is not None:
        others = {"--adapt": index, "--adapt-own": own or None, **given}
        if clash := next((name for name, value in others.items() if value is not None), None):
            raise ConfigError(f"--adapter takes an adapter as it is, and {clash} is for learning one: give one of them")
        return Wanted(adapter=adapter)
    if not searched and not own:
        if index == NONE:
            raise ConfigError("--adapt none leaves nothing to learn from but the measurement: add --adapt-own")
        if alone := next((name for name, value in given.items() if value is not None), None):
            raise ConfigError(f"{alone} is for adaptation: add --adapt INDEX, or --adapt-own")
        return None
    for name in ("--neighbours", "--adapt-query"):
        if not searched and given[name] is not None:
            raise ConfigError(f"{name} is for an index: add --adapt INDEX")
    if query is not None and query not in QUERIES:
        raise ConfigError(f"--adapt-query is one of {', '.join(QUERIES)}, not {query!r}")
    if neighbours is not None and neighbours < 1:
        raise ConfigError(f"--neighbours must be at least 1, not {neighbours}")
    folder = _cache_folder() if cache else None
    found = Wanted(
        index if searched else None,
        20 if neighbours is None else neighbours,
        STEPS if steps is None else steps,
        RATE if lr is None else lr,
        own,
        query or "y",
        save=save,
        cache=folder,
    )
    if found.steps < 1:
        raise ConfigError(f"--adapt-steps must be at least 1, not {found.steps}; without --adapt nothing is adapted")
    try:
        found.how(0)
    except CompatibilityError as error:
        raise ConfigError(f"--adapt-lr: {error}") from error
    return found


def require_possible(asked: Wanted, method: str, precision: str) -> Wanted:
    """What can be known without the prior; the options, with as many neighbours as there are at most.

    Raises:
        ConfigError: there is no index, or it is empty.
        CompatibilityError: the method or the precision does not go with adaptation.
        PriorError: peft is not installed.
    """
    if precision in COMPILED:
        raise CompatibilityError(
            f"--precision {precision} compiles the network, which then cannot be adapted; take --precision float32"
        )
    if method == "dirac":
        raise CompatibilityError("a dirac prior undoes one degradation and is not adapted; take another method")
    if asked.adapter is None and find_spec("peft") is None:
        raise PriorError("adaptation needs the extra: pip install 'pellucid[adapt]'")
    if asked.index is None:
        return asked
    rows = len(opened(asked.index))
    if not rows:
        raise ConfigError(f"the index {asked.index} is empty; add pictures: pellucid index add {asked.index} FOLDER")
    if rows < asked.neighbours:
        note(f"{asked.index} holds {rows} pictures, all of which are taken for neighbours")
    _ = opened(asked.index).embedder  # weights that are missing are said now
    return replace(asked, neighbours=min(rows, asked.neighbours))


def require_adaptable(asked: Wanted, prior: Prior, preset: Preset | None) -> DiffusionPrior:
    """The prior, with the adapter of --adapter if there is one.

    Raises:
        CompatibilityError: it cannot be adapted, the adapter is of another network, or the method asks no prior.
        PriorError: the adapter cannot be read.
    """
    from pellucid.adapt import Adapter, adapted
    from pellucid.adapt.adapt import network_of
    from pellucid.prior.diffusion import DiffusionPrior

    network_of(prior)
    assert isinstance(prior, DiffusionPrior)
    if preset is not None and preset.default_nfe is None:
        raise CompatibilityError(f"{preset.name} asks no prior, so there is none to adapt; take -m adir or another")
    return prior if asked.adapter is None else adapted(prior, Adapter.load(asked.adapter))


def require_fit(case: Case) -> None:
    """Whether a picture's measurement can be looked for, or learned from.

    Raises:
        CompatibilityError: it neither is a picture nor becomes one.
    """
    from pellucid.adapt.query import require_query

    asked = case.setup.request.adapt
    if asked is None:
        return
    if asked.own or (asked.index is not None and asked.query != "x"):
        require_query(case.operator)


def places(asked: Wanted | None, jobs: Sequence[Job]) -> dict[Path, Path]:
    """Where the adapter of every source goes: a file for one picture, an existing folder for several.

    Raises:
        ConfigError: several would go into one file, or the name is none of an adapter.
        ImageFileError: the folder cannot be written into.
    """
    from pellucid.images.atomic import require_folder

    if asked is None or asked.save is None:
        return {}
    if asked.save.is_dir():
        require_folder(asked.save)
        found = {job.source: asked.save / f"{job.target.stem}{SUFFIX}" for job in jobs}
        if len(set(found.values())) < len(found):
            raise ConfigError("--save-adapter: two pictures have one name, and their adapters would too; rename one")
        return found
    if len(jobs) > 1:
        raise ConfigError(f"--save-adapter with several pictures is an existing folder, not {asked.save}; make it")
    if asked.save.suffix.lower() != SUFFIX:
        raise ConfigError(f"--save-adapter writes {SUFFIX} files, not {asked.save.name}")
    require_folder(asked.save.absolute().parent)
    return {jobs[0].source: asked.save}


def look(case: Case, title: str, *, quiet: bool) -> Found:
    """Neighbours of the picture in the index that was named; nothing where none was."""
    from torch import cat

    from pellucid.adapt.query import measured
    from pellucid.cli.progress import Watch, bar
    from pellucid.loop import reconstruct
    from pellucid.retrieval.readable import nearest_readable

    asked = case.setup.request.adapt
    if asked is None or asked.index is None:
        return Found()
    began, problem = time.perf_counter(), case.problem(1)
    views = [] if asked.query == "x" else [measured(problem).cpu()]
    if asked.query != "y":
        with bar(f"{title}, first", quiet=quiet) as (progress, task):
            watch = Watch(progress, task, 1, None)
            seeds = [case.setup.request.seed]
            first = reconstruct(problem, case.prior, case.method, seeds=seeds, callback=watch)
        views.append(first.image.cpu().float().clamp(0, 1))
    found = nearest_readable(opened(asked.index), cat(views), asked.neighbours)
    if found.skipped:
        name, why = found.skipped[0]
        note(
            f"{len(found.skipped)} of the nearest pictures cannot be read, the next nearest are taken instead; first "
            f"{_plain(name)}: {_plain(why)}; pellucid index prune {asked.index}"
        )
    return Found(found.neighbours, found.pictures, time.perf_counter() - began)


def known(case: Case, found: Found) -> bool:
    """Whether the adapter was learned before."""
    from pellucid.adapt import cache

    asked = case.setup.request.adapt
    if asked is None or asked.cache is None:
        return False
    pictures = list(_placed(case, found))
    if asked.own:
        from pellucid.adapt.query import measured

        pictures.append(measured(case.problem(1))[0])
    channels = case.operator.image_shape[0]
    return cache.find(asked.cache, cache.key(_base(case), pictures, channels, _how(case))) is not None


@dataclass(frozen=True)
class Ahead:
    """What is to be done before a picture is restored.

    Attributes:
        found: what will be learned from; None where that is known after a first reconstruction only.
        kept: whether it was learned before.
        seconds: predicted.
    """

    found: Found | None
    kept: bool
    seconds: float

    def report(self) -> dict[str, Any]:
        """For --json --dry-run."""
        return {"kept": self.kept, **({} if self.found is None else {"neighbours": self.found.listed})}

    def text(self, case: Case) -> str:
        """What --dry-run says of it."""
        asked = case.setup.request.adapt
        assert asked is not None
        parts = []
        if asked.index is not None:
            parts.append(f"{asked.neighbours} of {len(opened(asked.index))} pictures in {asked.index}")
        parts += ["the measurement"] if asked.own else []
        text = f"{' and '.join(parts)}, {asked.steps} steps" + (", learned before and kept" if self.kept else "")
        if self.found is not None and self.found.neighbours:
            nearest = self.found.neighbours[0]
            text += f"; the nearest is {nearest.name} at {nearest.distance:.3g}"
        return text


def ahead(case: Case, restoring: float, title: str, *, quiet: bool) -> Ahead | None:
    """What adaptation is to be done, and how long it will take; None where there is none.

    Args:
        case: the picture.
        restoring: predicted seconds of one reconstruction.
        title, quiet: of the bar.
    """
    asked = case.setup.request.adapt
    if asked is None or asked.adapter is not None:
        return None
    if asked.query != "y":
        return Ahead(None, False, restoring + predicted_seconds(case))
    found = look(case, title, quiet=quiet)
    kept = known(case, found)
    return Ahead(found, kept, 0.0 if kept else predicted_seconds(case))


def report(case: Case) -> dict[str, Any]:
    """What the prior has been adapted to, for --json; nothing where it was not."""
    if case.learned is not None:
        return {"adaptation": case.learned.report}
    asked = case.setup.request.adapt
    if asked is None or asked.adapter is None:
        return {}
    (cost,) = case.prior.costs
    taken = {"steps_taken": cost.steps, "seconds": round(cost.seconds, 3)}
    return {"adaptation": {"adapter": str(asked.adapter), **taken, "cached": True}}


def text(case: Case) -> str:
    """The same for people."""
    if case.learned is not None:
        return case.learned.text
    asked = case.setup.request.adapt
    return "" if asked is None or asked.adapter is None else f"with the adapter {asked.adapter}"


def adapted_case(case: Case, todo: Ahead, save: Path | None, title: str, *, quiet: bool) -> Case:
    """The picture with a prior that was adapted to it; what was learned is kept, and saved if that was asked for."""
    from pellucid.adapt import adapt
    from pellucid.cli.progress import bar
    from pellucid.prior.tiled import tiled

    asked = case.setup.request.adapt
    assert asked is not None
    found = todo.found or look(case, title, quiet=quiet)
    with bar(f"{title}, adaptation", quiet=quiet) as (progress, task):

        def watch(step: int, loss: float) -> None:
            progress.update(task, completed=step, total=asked.steps, calls=f"loss {loss:.4f}")

        pictures = _placed(case, found)
        prior: AdaptedPrior = adapt(_base(case), case.problem(1), pictures, _how(case), watch=watch, cache=asked.cache)
    if save is not None:
        prior.adapter.save(save)
    learned = Learned(found, asked.own, prior.cost, save)
    return replace(case, prior=tiled(prior, case.operator.image_shape), learned=learned)


def predicted_seconds(case: Case) -> float:
    """What the training will take: one step measured, the second one, as the first is slower."""
    import torch

    from pellucid.adapt import Training, learn

    asked = case.setup.request.adapt
    assert asked is not None
    if not asked.steps:
        return 0.0
    times: list[float] = []
    how = replace(_how(case), training=Training(2, asked.lr))
    picture = torch.rand(case.operator.image_shape, device=case.setup.device)
    learn(_base(case), [picture], picture.shape[0], how, watch=lambda *_: times.append(time.perf_counter()))
    return asked.steps * (times[1] - times[0])


@lru_cache(maxsize=2)
def opened(uri: str) -> Index:
    """The index. Raises `ConfigError` where there is none, with the command that makes one."""
    from pellucid.retrieval import Index

    return Index.open(uri)


def _plain(text: str) -> str:
    """Without what a terminal would obey: names in a table are anybody's."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _how(case: Case) -> Adaptation:
    asked = case.setup.request.adapt
    assert asked is not None
    return asked.how(case.setup.request.seed)


def _base(case: Case) -> DiffusionPrior:
    """The prior itself, whole: it is adapted before it sees a picture in tiles."""
    from pellucid.prior.diffusion import DiffusionPrior

    assert isinstance(case.setup.prior, DiffusionPrior)
    return case.setup.prior


def _placed(case: Case, found: Found) -> list[Tensor]:
    return [picture.to(case.setup.device) for picture in found.pictures]


def _cache_folder() -> Path:
    """Where adapters are kept; it is made when there is one."""
    from pellucid.adapt.cache import default_folder

    folder = default_folder()
    place = next((p for p in (folder, *folder.absolute().parents) if p.exists()), Path("/"))
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise ConfigError(f"adapters cannot be kept in {folder}; set PELLUCID_CACHE to a folder, or --no-adapt-cache")
    return folder
