"""From a plan to work: everything that can be wrong is found here, all of it, before any of it begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from pellucid.bench import adapting, priors, scores
from pellucid.bench.data import Image, collect, stacked
from pellucid.bench.jobs import Job, Run, jobs, levels, runs
from pellucid.bench.measuring import Level
from pellucid.bench.plan import Plan
from pellucid.bench.store import require_arrow
from pellucid.bench.toml import is_number, require
from pellucid.cli.settings import check_types
from pellucid.errors import ConfigError, PellucidError
from pellucid.operators import JPEG, Operator, parse
from pellucid.problem import Problem
from pellucid.typing import Shape


@dataclass(frozen=True)
class Experiment:
    """A plan whose parts were all found and fit each other.

    Attributes:
        plan: as written.
        images: the pictures.
        fingerprints: of the priors, by name.
        device, precision: what "auto" stands for here.
        jobs: the work.
        notes: what is allowed and yet worth a word.
    """

    plan: Plan
    images: tuple[Image, ...]
    fingerprints: dict[str, str]
    device: str
    precision: str
    jobs: tuple[Job, ...]
    notes: tuple[str, ...]

    @property
    def names(self) -> dict[str, dict[str, str]]:
        """By key, the names that the plan gives."""
        return {
            key: {"task": job.level.task.name, "label": job.run.label, "family": job.run.family}
            for job in self.jobs
            for key in job.keys
        }


@dataclass
class _Findings:
    """Complaints are gathered, so that one look shows them all."""

    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def at(self, where: str) -> Iterator[None]:
        try:
            yield
        except PellucidError as error:
            if (text := f"{where}: {error}" if where else str(error)) not in self.errors:
                self.errors.append(text)

    def done(self) -> None:
        """Raises `ConfigError` with everything found."""
        if len(self.errors) == 1:
            raise ConfigError(self.errors[0])
        if self.errors:
            listed = "; ".join(f"({number}) {text}" for number, text in enumerate(self.errors, 1))
            raise ConfigError(f"the plan has {len(self.errors)} errors: {listed}")


def resolve(plan: Plan) -> Experiment:
    """Finds all parts of a plan and fits them together.

    Raises:
        ConfigError: something is missing, unknown, or does not fit; the text has all that was found.
    """
    found = _Findings()
    with found.at(""):
        require_arrow()
    images: list[Image] = []
    with found.at(""):
        images = collect(plan.data)
    device = priors.device_for(plan.prior.device)
    precision = priors.precision_for(plan.prior.precision, device)
    fingerprints = {}
    for name in plan.prior.names:
        with found.at(f"[prior] {name}"):
            priors.loaded(name, device, precision)
            fingerprints[name] = priors.fingerprint(name)
    _check_metrics(plan, images, found)
    _check_adaptations(plan, images, found)
    shapes = {image.shape: image.name for image in reversed(images)}
    options = {}
    for level in levels(plan):
        told = _check_level(level, shapes, found)
        for run in _checked_runs(plan, level, found):
            for shape, operator in told.items():
                with found.at(f"{run.label} on {level.task.name}"):
                    _check_run(run, level, operator, shapes[shape], fingerprints, (device, precision))
                    _check_adapted(plan, run, operator, fingerprints, (device, precision))
                    options[run, level] = run.options(operator)
    found.done()
    work = tuple(jobs(plan, images, fingerprints, precision, options))
    _check_doubles(work, found)
    _check_reference(plan, work, found)
    found.done()
    return Experiment(plan, tuple(images), fingerprints, device, precision, work, tuple(dict.fromkeys(found.notes)))


def _check_metrics(plan: Plan, images: list[Image], found: _Findings) -> None:
    asked = [*plan.metrics, *(name for name in plan.trajectory if name != "residual")]
    for name in dict.fromkeys(asked):
        with found.at(f"metric {name}"):
            metric = scores.find(name)
            if not metric.per_image and not (plan.save or plan.features):
                raise ConfigError("a metric of whole sets needs save = true, or features = true")
            shapes = {image.shape: image for image in images}
            pictures = [stacked(plan.data, [image]) for image in shapes.values()]
            for picture in pictures or [torch.zeros(1, 3, 256, 256)]:
                scores.probe([name], plan.protocol, picture)


def _check_adaptations(plan: Plan, images: list[Image], found: _Findings) -> None:
    for name in dict.fromkeys(method.adapt for method in plan.method if method.adapt):
        with found.at(f"[adapt.{name}]"):
            adapting.require_fit(plan.adapt[name], plan.data, images)


def _check_adapted(
    plan: Plan, run: Run, operator: Operator, fingerprints: dict[str, str], how: tuple[str, str]
) -> None:
    if run.adapt:
        for prior in filter(run.runs_with, fingerprints):
            adapting.require_adaptable(plan.adapt[run.adapt], priors.loaded(prior, *how), operator)


def _check_level(level: Level, shapes: dict[Shape, str], found: _Findings) -> dict[Shape, Operator]:
    """The operators that methods are told, for every shape of picture."""
    told: dict[Shape, Operator] = {}
    for shape, name in shapes.items():
        with found.at(f"task {level.task.name}, pictures of {'x'.join(map(str, shape))}"):
            true_text, told_text = level.operators(name)
            true = parse(true_text).build(shape)
            told[shape] = true if told_text == true_text else parse(told_text).build(shape)
            if told[shape].measurement_shape != true.measurement_shape:
                raise ConfigError(
                    f"mismatch {level.task.mismatch} measures {told[shape].measurement_shape}, "
                    f"but {level.task.operator} {true.measurement_shape}"
                )
            if level.task.jpeg is not None:
                _require_picture(true.measurement_shape)
                level.compression(true.measurement_shape)
    return told


def _require_picture(shape: Shape) -> None:
    if len(shape) != 3:
        raise ConfigError(f"jpeg takes measurements that are pictures, not of shape {shape}")
    JPEG(shape)


def _checked_runs(plan: Plan, level: Level, found: _Findings) -> list[Run]:
    chosen: list[Run] = []
    with found.at("[[method]]"):
        chosen = list(runs(plan, level.task.name))
    return chosen


def _check_run(
    run: Run, level: Level, operator: Operator, name: str, fingerprints: dict[str, str], how: tuple[str, str]
) -> None:
    check_types(run.preset, dict(run.given))
    method = run.build(operator)
    problem = Problem(torch.zeros(1, *operator.measurement_shape), operator, level.told(name))
    for prior in filter(run.runs_with, fingerprints):
        method.check(problem, priors.loaded(prior, *how))


def _check_doubles(work: tuple[Job, ...], found: _Findings) -> None:
    seen: dict[str, tuple[str, str]] = {}
    labels: dict[tuple[str, str, str], Run] = {}
    for job in work:
        name = (job.level.task.name, job.run.label)
        for key in job.keys:
            if key in seen:
                found.errors.append(f"{' '.join(seen[key])} and {' '.join(name)} are the same experiment")
                return
            seen[key] = name
        slot = (*name, str(job.level.noise))
        if labels.setdefault(slot, job.run) != job.run:
            found.errors.append(f"two methods have the label {job.run.label}; give them labels of their own")
            return
    noisy = dict.fromkeys(j.level.task.name for j in work if j.level.noise.high > 0 and not j.run.preset.models_noise)
    labels_of = dict.fromkeys(j.run.label for j in work if j.level.task.name in noisy and not j.run.preset.models_noise)
    if noisy:
        found.notes.append(f"made for noiseless measurements: {', '.join(labels_of)}; with noise: {', '.join(noisy)}")


def _check_reference(plan: Plan, work: tuple[Job, ...], found: _Findings) -> None:
    labels = list(dict.fromkeys(job.run.label for job in work))
    if plan.reference is not None and plan.reference not in labels:
        found.errors.append(f"reference: no method has the label {plan.reference!r}; there are {', '.join(labels)}")
    tasks = {task.name for task in plan.task}
    for task, rows in plan.published.items():
        if task == "source" and isinstance(rows, str):
            continue
        if task not in tasks:
            found.errors.append(f"[published]: there is no task named {task!r}")
        elif not isinstance(rows, dict) or not all(isinstance(values, dict) for values in rows.values()):
            found.errors.append(f"[published.{task}]: tables of numbers by label, such as SSD-30 = {{ psnr = 28.71 }}")
        else:
            found.errors += [
                f"[published.{task}]: no method has the label {label!r}" for label in rows if label not in labels
            ]
            for name, value in (item for values in rows.values() for item in values.items()):
                with found.at(f"[published.{task}]"):
                    scores.find(name)
                    require(is_number(value), f"{name} is a number, not {value!r}")
