"""The work of an experiment in pieces that do not change with the number of workers: a method on a few pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pellucid import methods
from pellucid.bench import adapting, hashes
from pellucid.bench.data import Image
from pellucid.bench.measuring import Level
from pellucid.bench.plan import Data, MethodPlan, Plan
from pellucid.method import Method
from pellucid.methods import Preset
from pellucid.operators import Operator


@dataclass(frozen=True)
class Run:
    """A method with its settings on one task.

    Attributes:
        label: for the tables.
        family: what runs that differ in nfe alone have in common.
        name: of the method.
        nfe: network calls asked for; None for a method that has no such number.
        given: options of the plan.
        priors: the only ones that it runs with; all if empty.
        adapt: the table by which the prior is adapted to every picture; "": as it is.
    """

    label: str
    family: str
    name: str
    nfe: int | None
    given: tuple[tuple[str, Any], ...]
    priors: tuple[str, ...] = ()
    adapt: str = ""

    def runs_with(self, prior: str) -> bool:
        """Whether the plan pairs it with the prior of that name."""
        return not self.priors or prior in self.priors

    @property
    def preset(self) -> Preset:
        """The method by name. Raises `UnknownNameError`."""
        return methods.get(self.name)

    def build(self, operator: Operator) -> Method:
        """The method for an operator. Raises `ConfigError` or `CompatibilityError`."""
        return self.preset.build(self.nfe if "nfe" in self.preset.options else None, operator, **dict(self.given))

    def options(self, operator: Operator) -> dict[str, Any]:
        """All options, defaults included, that the method runs with."""
        resolved = dict(self.preset.options)
        for kind, defaults in self.preset.by_operator.items():
            resolved |= defaults if isinstance(operator, kind) else {}
        return {**resolved, **dict(self.given), **({"nfe": self.nfe} if "nfe" in resolved else {})}


@dataclass(frozen=True)
class Job:
    """One method on a few pictures: what a worker gets.

    Attributes:
        prior: its name.
        level: the task at one noise level.
        run: the method.
        seed: of the method.
        images: the pictures.
        keys: of their rows.
        collection: the version of the collection that the prior is adapted by; 0 for none.
    """

    prior: str
    level: Level
    run: Run
    seed: int
    images: tuple[Image, ...]
    keys: tuple[str, ...]
    collection: int = 0

    @property
    def name(self) -> str:
        """Of the file of its rows: the same for the same rows."""
        return hashlib.sha256("".join(self.keys).encode()).hexdigest()[:20]

    def only(self, keys: set[str]) -> Job:
        """The part of it that has these keys."""
        kept = [(i, k) for i, k in zip(self.images, self.keys, strict=True) if k in keys]
        return replace(self, images=tuple(i for i, _ in kept), keys=tuple(k for _, k in kept))


def runs(plan: Plan, task: str) -> Iterator[Run]:
    """The methods with their settings on the task of that name."""
    for method in plan.method:
        if not method.tasks or task in method.tasks:
            yield from _variants(method, task)


def _variants(method: MethodPlan, task: str) -> Iterator[Run]:
    preset = methods.get(method.name)
    options = {**method.options, **method.by_task.get(task, {})}
    for asked in method.nfe:
        nfe = asked or preset.options.get("nfe")
        several = len(method.nfe) > 1
        base = method.label or method.name
        label = f"{base}-{nfe}" if nfe is not None and (several or method.label is None) else base
        family = base if several or method.label is None else base.removesuffix(f"-{nfe}")
        if method.adapt and method.label is None:
            label, family = f"{label}+{method.adapt}", f"{family}+{method.adapt}"
        given = tuple(sorted(options.items()))
        yield Run(label, family, method.name, nfe, given, tuple(method.priors), method.adapt)


def levels(plan: Plan) -> Iterator[Level]:
    """Every task at every of its noise levels."""
    for task in plan.task:
        for noise in task.levels:
            yield Level(task, noise, plan.data.seed)


def jobs(
    plan: Plan, images: Sequence[Image], priors: Mapping[str, str], precision: str, options: Mapping[Any, Any]
) -> Iterator[Job]:
    """All work, always in the same pieces and order.

    Args:
        plan: the experiment.
        images: its pictures.
        priors: their fingerprints, by name.
        precision: of the network.
        options: (run, level) -> all options that the method runs with there.
    """
    used = {method.adapt for method in plan.method if method.adapt}
    versions = {name: adapting.version(plan.adapt[name]) for name in sorted(used)}
    for prior, fingerprint in priors.items():
        for level in levels(plan):
            for run in (r for r in runs(plan, level.task.name) if r.runs_with(prior)):
                for seed in plan.seeds:
                    context = [run.name, options[run, level], run.nfe, fingerprint, precision, seed]
                    if networks := hashes.of_networks(run.name, options[run, level]):
                        context.append(networks)
                    at = versions.get(run.adapt, 0)
                    if run.adapt:
                        context.append({"adapt": adapting.identity(plan.adapt[run.adapt], at)})
                    for first in range(0, len(images), plan.batch):
                        part = tuple(images[first : first + plan.batch])
                        keys = tuple(key(plan.data, level, image, context) for image in part)
                        yield Job(prior, level, run, seed, part, keys, at)


def key(data: Data, level: Level, image: Image, context: Sequence[Any]) -> str:
    """What makes a row the row it is: 32 hexadecimal digits of everything that its result depends on."""
    return _hash([*_measured(data, level, image), *context], 32)


def measurement(data: Data, level: Level, image: Image) -> str:
    """The part of the key that says what was measured: 24 hexadecimal digits, the same for every method."""
    return _hash(_measured(data, level, image), 24)


def adapter(setting: Sequence[Any], data: Data, level: Level | None, image: Image) -> str:
    """Which adapter a row's reconstruction is made with: 32 hexadecimal digits, the same for all methods and seeds.

    Args:
        setting: the prior's fingerprint, its precision, and `adapting.identity` of the table.
        data, level, image: what was measured; no level where the adapter does not depend on the measurement.
    """
    if level is None:
        return _hash([_prepared(data, image), *setting], 32)
    return _hash([*_measured(data, level, image), *setting], 32)


def _measured(data: Data, level: Level, image: Image) -> list[Any]:
    texts = level.operators(image.name)
    picture = [*_prepared(data, image), level.seed]
    measured = [*texts, level.std(image.name), level.told(image.name), level.task.jpeg]
    files = {path: digest for text in texts for path, digest in hashes.of_operator(text).items()}
    return [picture, measured, files] if files else [picture, measured]


def _prepared(data: Data, image: Image) -> list[Any]:
    return [image.sha256, data.size, data.crop if data.size else "none", data.colour, image.name]


def _hash(parts: Sequence[Any], digits: int) -> str:
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
