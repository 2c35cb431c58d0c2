"""What an experiment is: the plan as written, checked as far as it can be without data, priors and metrics."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pellucid.bench.adapt_plan import AdaptPlan
from pellucid.bench.toml import build, is_number, is_whole, listed, read, require
from pellucid.errors import ConfigError
from pellucid.metrics.protocol import PLAIN, Protocol
from pellucid.operators.ranges import require_ranges

NAME = re.compile(r"[\w.+ -]{1,60}")
CROPS = ("centre", "square", "none")
COLOURS = ("rgb", "grey", "as-is")
TRACED = ("psnr", "residual", "effnet_distance")
TOP = "before the first [table] of the file"


@dataclass(frozen=True)
class Data:
    """The pictures.

    Args:
        path: a folder; relative to the working directory.
        size: side in pixels; None keeps the pictures as they are.
        crop: "centre" cuts size x size pixels out of the middle; "square" cuts the largest square out of the middle and
            reduces it to size (bilinear, antialiased: the protocol of the papers); "none".
        count: the first so many, sorted by name; None for all.
        colour: "rgb" (grey pictures get three equal channels), "grey" (mean of the channels), or "as-is".
        seed: with a picture's name, it fixes the picture's noise, its mask or kernel where the operator's text names
            no seed, and its number where the text has a range. The same for every method.
    """

    path: Path
    size: int | None = None
    crop: str = "centre"
    count: int | None = None
    colour: str = "rgb"
    seed: int = 0

    def __post_init__(self) -> None:
        given: object = self.path
        require(isinstance(given, str | Path) and str(given) != "", "[data] path is a folder")
        object.__setattr__(self, "path", Path(self.path))
        for name in ("size", "count"):
            value = getattr(self, name)
            require(value is None or (is_whole(value) and value > 0), f"[data] {name} is a whole number from 1")
        require(self.crop in CROPS, f"[data] crop is one of {', '.join(CROPS)}, not {self.crop!r}")
        require(self.colour in COLOURS, f"[data] colour is one of {', '.join(COLOURS)}, not {self.colour!r}")
        require(self.crop != "square" or self.size is not None, "[data] crop = 'square' needs a size")
        require(is_whole(self.seed), "[data] seed is a whole number")


@dataclass(frozen=True)
class Priors:
    """The priors.

    Args:
        names: of shipped ones, or folders.
        precision: as `pellucid restore --precision`.
        device: cpu, cuda, ...; "auto" takes a GPU where there is one.
    """

    names: list[str] = field(default_factory=lambda: ["photo"])
    precision: str = "auto"
    device: str = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", listed(self.names))
        require(bool(self.names) and all(isinstance(n, str) for n in self.names), "[prior] names is a list of texts")
        require(len(set(self.names)) == len(self.names), "[prior] names: one is given twice")
        require(isinstance(self.precision, str), "[prior] precision is a text")
        require(isinstance(self.device, str), "[prior] device is a text")


@dataclass(frozen=True)
class Noise:
    """Standard deviation of the noise, in units of pictures in [0, 1]; drawn anew for each picture if low < high."""

    low: float
    high: float

    @classmethod
    def read(cls, value: object, where: str) -> Noise:
        """From a number, or `{ uniform = [0, 0.1] }`."""
        if isinstance(value, dict):
            pair = value.get("uniform")
            ok = set(value) == {"uniform"} and isinstance(pair, list) and len(pair) == 2 and all(map(is_number, pair))
            require(ok and 0 <= pair[0] <= pair[1], f"{where}: noise is a number, or {{ uniform = [low, high] }}")  # type: ignore[index]
            return cls(float(pair[0]), float(pair[1]))  # type: ignore[index]
        require(is_number(value) and float(value) >= 0, f"{where}: noise is a number from 0, not {value!r}")  # type: ignore[arg-type]
        return cls(float(value), float(value))  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"{self.low:g}" if self.low == self.high else f"U({self.low:g}, {self.high:g})"


@dataclass(frozen=True)
class Task:
    """What happened to the pictures: y = JPEG(A(x) + n), of which the methods know A and the noise level only.

    Args:
        name: for the tables.
        operator: as text; masks and kernels drawn at random without a seed differ from picture to picture, and so do
            numbers that are given as a range, `gaussian-blur:std=0.3..3`.
        noise: standard deviation, or several; `{ uniform = [low, high] }` draws one for each picture.
        noise_told: what the methods are told, if not the truth.
        mismatch: the operator that the methods are told, if not the true one.
        jpeg: the measurement is compressed at this quality, which the methods do not know.
    """

    name: str
    operator: str
    noise: Any = 0.0
    noise_told: float | None = None
    mismatch: str | None = None
    jpeg: int | None = None

    def __post_init__(self) -> None:
        where = _named("[[task]]", self.name)
        require(isinstance(self.operator, str), f"{where}: operator is a text")
        require(isinstance(self.mismatch, str | None), f"{where}: mismatch is an operator's text")
        for text in filter(None, (self.operator, self.mismatch)):
            require_ranges(text)
        if not (isinstance(self.noise, tuple) and all(isinstance(n, Noise) for n in self.noise)):
            levels = tuple(Noise.read(value, where) for value in listed(self.noise))
            require(bool(levels) and len(set(levels)) == len(levels), f"{where}: noise is empty, or a level is twice")
            object.__setattr__(self, "noise", levels)
        told = self.noise_told
        require(told is None or (is_number(told) and told >= 0), f"{where}: noise_told is a number from 0")
        jpeg = self.jpeg
        require(jpeg is None or (is_whole(jpeg) and 1 <= jpeg <= 100), f"{where}: jpeg is a quality from 1 to 100")

    @property
    def levels(self) -> tuple[Noise, ...]:
        """The noise levels."""
        return self.noise


@dataclass(frozen=True)
class MethodPlan:
    """A method and its settings.

    Args:
        name: in `pellucid list methods`; may come from `config`.
        label: for the tables; "ssd-30" if not given, and "label-30" if there are several nfe.
        nfe: network calls, or several; None for the method's own number.
        options: of the method.
        by_task: further options for single tasks, by the task's name.
        tasks: only these; all if empty.
        priors: only with these of the plan's; with all if empty.
        config: a file that `pellucid tune` wrote; what is given here goes first.
        adapt: name of the table `[adapt.NAME]` by which the prior is adapted to every picture; "": as it is.
    """

    name: str = ""
    label: str | None = None
    nfe: Any = None
    options: dict[str, Any] = field(default_factory=dict)
    by_task: dict[str, dict[str, Any]] = field(default_factory=dict)
    tasks: list[str] = field(default_factory=list)
    priors: list[str] = field(default_factory=list)
    config: str | None = None
    adapt: str = ""

    def __post_init__(self) -> None:
        if self.config is not None:
            self._fill(self.config)
        where = _named("[[method]]", self.name)
        if self.label is not None:
            _named(f"{where} label", self.label)
        if not isinstance(self.nfe, tuple):
            object.__setattr__(self, "nfe", tuple(listed(self.nfe)))
        good = all(n is None or (is_whole(n) and n > 0) for n in self.nfe)
        require(good and bool(self.nfe) and len(set(self.nfe)) == len(self.nfe), f"{where}: nfe are different numbers")
        for table in (self.options, self.by_task, *self.by_task.values()):
            require(isinstance(table, dict), f"{where}: options and by_task are tables")
        values = [v for table in (self.options, *self.by_task.values()) for v in table.values()]
        simple = all(isinstance(value, bool | int | float | str) for value in values)
        require(simple, f"{where}: an option is a number, a text, true or false")
        require(isinstance(self.tasks, list), f"{where}: tasks is a list of names")
        require(isinstance(self.adapt, str), f"{where}: adapt is the name of an [adapt.NAME]")
        priors: Any = self.priors
        require(
            isinstance(priors, list) and all(isinstance(p, str) for p in priors), f"{where}: priors is a list of names"
        )

    def _fill(self, config: object) -> None:
        from pellucid.bench.settings_file import load

        require(isinstance(config, str), "[[method]] config is a file")
        found = load(Path(str(config)))
        if self.name not in ("", found.method):
            raise ConfigError(f"{config} holds settings of {found.method}, not of {self.name}")
        object.__setattr__(self, "name", found.method)
        object.__setattr__(self, "nfe", found.nfe if self.nfe is None else self.nfe)
        object.__setattr__(self, "options", {**found.options, **self.options})


@dataclass(frozen=True)
class Plan:
    """An experiment: every picture x task x noise level x method x nfe x prior x seed.

    A method that names `priors` runs with those alone: so pixel and latent methods stand in one plan and in one table.

    Args:
        data, prior, task, method: see there.
        title: of the report.
        metrics: names in `pellucid.metrics`; those of whole sets need save or features. The residual ||y - A(x)|| /
            sqrt(n) is always measured.
        protocol: how pictures are prepared for metrics: clip, border, colour.
        reference: label of the method that the report compares the others with; the first if not given.
        seeds: of the methods' own randomness; the measurements are the same for all of them.
        batch: pictures that are reconstructed together.
        threads: of every worker process; 0 leaves the choice to torch.
        save: keep the restored pictures, the measurements and the truths as PNG, for the report.
        features: keep pooled features of the restored pictures, for distances between sets.
        trajectory: what is measured of the estimate after every step: psnr, residual, effnet_distance.
        published: numbers of a paper, by task, method and metric, which the report prints beside ours; and its source.
        notes: text for the report.
        space: for `pellucid tune`: ranges of options, `scale = { low = 0.1, high = 10, log = true }`, or lists.
        adapt: how priors are adapted, by the names that methods ask for.
    """

    data: Data
    task: tuple[Task, ...]
    method: tuple[MethodPlan, ...]
    prior: Priors = field(default_factory=Priors)
    title: str = ""
    metrics: list[str] = field(default_factory=lambda: ["psnr", "ssim"])
    protocol: Protocol = PLAIN
    reference: str | None = None
    seeds: list[int] = field(default_factory=lambda: [0])
    batch: int = 4
    threads: int = 1
    save: bool = False
    features: bool = False
    trajectory: list[str] = field(default_factory=list)
    published: dict[str, Any] = field(default_factory=dict)
    notes: str = ""
    space: dict[str, Any] = field(default_factory=dict)
    adapt: dict[str, AdaptPlan] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", listed(self.seeds))
        require(bool(self.seeds) and all(map(is_whole, self.seeds)), "seeds is a list of whole numbers")
        require(len(set(self.seeds)) == len(self.seeds), "seeds: one is given twice")
        texts = (self.metrics, self.trajectory)
        require(all(isinstance(m, str) for names in texts for m in listed(names)), "metrics are given by their names")
        for name in self.trajectory:
            require(name in TRACED, f"trajectory holds some of {', '.join(TRACED)}, not {name!r}")
        require(is_whole(self.batch) and self.batch > 0, "batch is a whole number from 1")
        require(is_whole(self.threads) and self.threads >= 0, "threads is a whole number from 0")
        switches: tuple[object, ...] = (self.save, self.features)
        require(all(isinstance(value, bool) for value in switches), "save and features are true or false")
        require(bool(self.task), "a plan needs a [[task]]")
        require(bool(self.method), "a plan needs a [[method]]")
        names = [task.name for task in self.task]
        require(len(set(names)) == len(names), "two tasks have one name")
        for method in self.method:
            for name in (*method.tasks, *method.by_task):
                require(name in names, f"[[method]] {method.name}: there is no task named {name!r}")
            for name in method.priors:
                require(name in self.prior.names, f"[[method]] {method.name}: [prior] names has no {name!r}")
            known = not method.adapt or method.adapt in self.adapt
            require(known, f"[[method]] {method.name}: there is no [adapt.{method.adapt}]")

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Reads a TOML file.

        Raises:
            ConfigError: it is missing or no TOML; a key is unknown, missing, or of a wrong kind.
        """
        return cls.of(read(path), str(path))

    @classmethod
    def of(cls, raw: dict[str, Any], where: str = "the plan") -> Plan:
        """The plan of a TOML file's content. Raises `ConfigError`."""
        top = {f.name: TOP for f in dataclasses.fields(cls)}
        parts: dict[str, Any] = dict(raw)
        if "data" in raw:
            parts["data"] = build(Data, raw["data"], f"{where} [data]", top)
        if "prior" in raw:
            parts["prior"] = build(Priors, raw["prior"], f"{where} [prior]", top)
        if "protocol" in raw:
            parts["protocol"] = build(Protocol, raw["protocol"], f"{where} [protocol]", top)
        for name, kind in (("task", Task), ("method", MethodPlan)):
            tables = raw.get(name, [])
            require(isinstance(tables, list), f"{where}: {name} is an array of tables, [[{name}]]")
            parts[name] = tuple(build(kind, table, f"{where} [[{name}]]", top) for table in tables)
        tables = raw.get("adapt", {})
        require(
            isinstance(tables, dict) and all(isinstance(table, dict) for table in tables.values()),
            f"{where}: adapt is tables with names, [adapt.NAME]",
        )
        parts["adapt"] = {name: _adapt(name, table, where, top) for name, table in tables.items()}
        return build(cls, parts, where)

    def resolved(self) -> dict[str, Any]:
        """Everything that the plan says, defaults included, for JSON."""
        return dataclasses.asdict(self)


def _adapt(name: str, table: object, where: str, top: dict[str, str]) -> AdaptPlan:
    place = f"{where} [adapt.{name}]"
    _named(place, name)
    try:
        return build(AdaptPlan, table, place, top)
    except ConfigError as error:
        raise ConfigError(str(error) if place in str(error) else f"{place}: {error}") from error


def _named(where: str, name: object) -> str:
    require(
        isinstance(name, str) and NAME.fullmatch(name) is not None,
        f"{where} needs a name of letters, digits, spaces and . + - _ (at most 60), not {name!r}",
    )
    return f"{where} {name}"
