"""One job: measure, reconstruct, score. A method that fails gives rows that say so."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.bench import adapting, priors, scores
from pellucid.bench.data import Image, load, stacked
from pellucid.bench.jobs import Job, adapter, measurement
from pellucid.bench.measuring import number
from pellucid.bench.pictures import keep
from pellucid.bench.plan import Data, Plan
from pellucid.bench.trajectory import Recorder
from pellucid.loop import Result, reconstruct
from pellucid.metrics import METRICS, Protocol
from pellucid.metrics.memory import peak_memory
from pellucid.operators import Operator, parse
from pellucid.prior.base import Prior
from pellucid.problem import Problem

Rows = dict[str, list[dict[str, Any]]]
MIB = 2**20


@dataclass(frozen=True)
class Setting:
    """What is the same for all jobs.

    Attributes:
        plan: the experiment.
        device, precision: of the network.
        fingerprints: of the priors, by name.
        pictures: a folder for the pictures to be kept.
        stamp: columns of every row: version, commit.
    """

    plan: Plan
    device: str
    precision: str
    fingerprints: Mapping[str, str]
    pictures: Path
    stamp: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def adapters(self) -> Path:
        """The folder of what priors learned about single pictures, beside that of the pictures."""
        return self.pictures.parent / "adapters"


def execute(job: Job, setting: Setting) -> Rows:
    """The tables of a job: one row a picture, and its steps and features if they were asked for."""
    tables: Rows = {"rows": [], "steps": [], "features": []}
    for part in _alike(job):
        for table, rows in _guarded(part, setting).items():
            tables[table] += rows
    return tables


def _alike(job: Job) -> list[Job]:
    """The job in pieces whose pictures share their shape, operators and prior: an adapted one is its own."""
    groups: dict[Any, set[str]] = {}
    for image, key in zip(job.images, job.keys, strict=True):
        alone = key if job.run.adapt else None
        groups.setdefault((image.shape, job.level.operators(image.name), alone), set()).add(key)
    return [job.only(keys) for keys in groups.values()]


def _guarded(job: Job, setting: Setting) -> Rows:
    """What fails in a batch is tried picture by picture: one that fails keeps no other from its result."""
    try:
        return _reconstructed(job, setting)
    except Exception as error:  # whatever it is belongs into the table, and the others go on
        if len(job.images) > 1:
            parts = [_guarded(job.only({key}), setting) for key in job.keys]
            return {table: [row for part in parts for row in part[table]] for table in parts[0]}
        text = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        row = _named(job, 0, setting) | {"status": "error", "error": text}
        return {"rows": [row], "steps": [], "features": []}


def _reconstructed(job: Job, setting: Setting) -> Rows:
    plan, level, device = setting.plan, job.level, setting.device
    names = [image.name for image in job.images]
    truth = stacked(plan.data, list(job.images))
    true, told = _operators(job, truth)
    y = level.measure(truth, true, names)
    problem = Problem(y.to(device), told, torch.tensor([level.told(name) for name in names], dtype=torch.float64))
    prior, adaptation = _prior(job, setting, problem)
    method = job.run.build(told)
    seeds = [number("method", job.seed, name) for name in names]
    scored = (plan.trajectory, plan.protocol, prior, truth, y, true, device)
    recorder = Recorder(*scored) if plan.trajectory else None
    with peak_memory(device) as peak:
        result = reconstruct(problem, prior, method, seeds=seeds, callback=recorder)
    seconds = result.seconds - (recorder.seconds if recorder else 0)
    image = result.image.cpu()
    if not torch.isfinite(image).all():
        raise ArithmeticError("the result is not finite")
    tables: Rows = {"rows": [], "steps": [], "features": []}
    columns = _columns(job, setting, image, truth, y, true)
    for i in range(len(names)):
        cost = _cost(result, i) | {
            "memory_mib": peak.increment / MIB if peak.exact else None,
            "memory_total_mib": peak.highest / MIB if peak.exact else None,
            "seconds": seconds / len(y),
        }
        values = {name: float(value[i]) for name, value in columns.items()}
        tables["rows"].append(_named(job, i, setting) | {"status": "ok", "error": None} | cost | adaptation | values)
    if recorder:
        tables["steps"] = [{"key": job.keys[i], **row} for i, row in recorder.rows]
    if plan.features:
        tables["features"] = _features(job, setting, image)
    if plan.save:
        keep(setting.pictures, job, plan.data, image, truth, y)
    return tables


def _prior(job: Job, setting: Setting, problem: Problem) -> tuple[Prior, dict[str, Any]]:
    """The prior, and the columns on its adaptation; none where it is taken as it is."""
    prior, plan = priors.loaded(job.prior, setting.device, setting.precision), setting.plan
    if not job.run.adapt:
        return prior, {}
    (image,) = job.images
    table = plan.adapt[job.run.adapt]
    depends = [setting.fingerprints[job.prior], setting.precision, adapting.identity(table, job.collection)]
    key = adapter(depends, plan.data, job.level if table.of_measurement else None, image)
    case = adapting.Case(plan.data, image, problem, prior, job.collection)
    return adapting.adapted_prior(table, case, key, setting.adapters)


def _operators(job: Job, truth: Tensor) -> tuple[Operator, Operator]:
    true_text, told_text = job.level.operators(job.images[0].name)
    true = parse(true_text).build(tuple(truth.shape[1:]))
    return true, true if told_text == true_text else parse(told_text).build(tuple(truth.shape[1:]))


def _columns(job: Job, setting: Setting, image: Tensor, truth: Tensor, y: Tensor, true: Operator) -> dict[str, Tensor]:
    """Metrics, (b,) each. The residual is that of the true operator and of the measurement as the method got it."""
    exact = Problem(y, true, torch.tensor([job.level.std(i.name) for i in job.images], dtype=torch.float64))
    columns = {"residual": METRICS["residual_rms"](image, problem=exact)}
    if bool((exact.std > 0).all()):
        columns["residual_sigma"] = METRICS["residual"](image, problem=exact)
    for metric in scores.per_image(setting.plan.metrics):
        columns[metric.name] = metric(image, truth if metric.needs_truth else None, protocol=setting.plan.protocol)
    return columns


def _named(job: Job, i: int, setting: Setting) -> dict[str, Any]:
    """The columns that say what a row is of."""
    image, level, run = job.images[i], job.level, job.run
    true, told = level.operators(image.name)
    return {
        "key": job.keys[i],
        "image": image.name,
        "image_sha256": image.sha256,
        "measurement": measurement(setting.plan.data, level, image),
        "height": image.shape[-2],
        "width": image.shape[-1],
        "task": level.task.name,
        "operator": true,
        "operator_told": told,
        "noise": str(level.noise),
        "noise_std": level.std(image.name),
        "noise_told": level.told(image.name),
        "jpeg": level.task.jpeg,
        "label": run.label,
        "family": run.family,
        "method": run.name,
        "options": json.dumps(run.options(parse(told).build(image.shape)), sort_keys=True, default=str),
        "nfe_asked": run.nfe,
        "prior": job.prior,
        "prior_sha256": setting.fingerprints[job.prior],
        "precision": setting.precision,
        "device": setting.device,
        "seed": job.seed,
        "batch": len(job.images),
        **({"adapt": run.adapt} if run.adapt else {}),
        "finished": time.time(),
        **setting.stamp,
    }


def _cost(result: Result, i: int) -> dict[str, Any]:
    return {"nfe": int(result.nfe[i]), "vjp": int(result.vjp[i]), "operator_calls": result.operator_calls}


def _features(job: Job, setting: Setting, image: Tensor) -> list[dict[str, Any]]:
    """Pooled features of the results and of the truths."""
    plan, rows = setting.plan, []
    for metric in scores.of_sets(plan.metrics):
        found = list(zip(job.keys, scores.features(metric, plan.protocol, image), strict=True))
        found += [(truth_key(i), _of_truth(metric.name, plan.protocol, plan.data, i.path)) for i in job.images]
        rows += [
            {"key": key, "metric": metric.name, "crops": len(f), "values": f.float().contiguous().numpy().tobytes()}
            for key, f in found
        ]
    return rows


@lru_cache(maxsize=4096)
def _of_truth(metric: str, protocol: Protocol, data: Data, path: Path) -> Tensor:
    """Features of a true picture, which every method is compared with: computed once a process, (n, d)."""
    return scores.features(scores.find(metric), protocol, load(data, path)[None])[0]


def truth_key(image: Image) -> str:
    """Where a true picture's features are; a folder's pictures are all prepared alike (`pellucid.bench.alike`)."""
    return f"truth-{image.sha256[:24]}"
