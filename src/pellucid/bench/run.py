"""`pellucid bench`: a plan into a folder of results."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pellucid.bench import provenance
from pellucid.bench.alike import require_alike
from pellucid.bench.execute import Setting
from pellucid.bench.hashes import of_networks
from pellucid.bench.jobs import Job
from pellucid.bench.plan import Plan
from pellucid.bench.pool import work
from pellucid.bench.progress import Progress
from pellucid.bench.resolve import Experiment, resolve
from pellucid.bench.store import Store
from pellucid.cli.console import note, say
from pellucid.errors import ConfigError
from pellucid.images.atomic import replacing


@dataclass(frozen=True)
class Summary:
    """How much there is to do.

    Attributes:
        rows, done: of the whole plan, and those that are on disk.
        batches: to be run.
        calls: network calls asked for, over all pictures to be run; a method's own count may differ a little.
        failed: rows on disk that say that a method failed.
    """

    rows: int
    done: int
    batches: int
    calls: int
    failed: int


def bench(
    plan: Plan, out: Path, *, workers: int = 1, dry_run: bool = False, retry: bool = False, source: str = ""
) -> Summary:
    """Runs what of a plan is not in the folder yet.

    Args:
        plan: the experiment.
        out: the folder of the results.
        workers: processes; the results do not depend on how many.
        dry_run: check everything, say what would be done, write nothing.
        retry: run again what failed.
        source: the plan's file, for the record.

    Raises:
        ConfigError: the plan cannot be run as it is, the folder's rows were scored or kept otherwise, or another
            process writes to it.
    """
    if workers < 1:
        raise ConfigError(f"--workers is a whole number from 1, not {workers}")
    experiment = resolve(plan)
    for text in experiment.notes:
        note(f"pellucid: note: {text}")
    store = Store(out)
    if dry_run:
        _require_new(out)
        summary = _summary(experiment, *_open(experiment, store, retry))
        say(describe(experiment, summary))
        return summary
    with store.locked():
        todo, status = _open(experiment, store, retry)
        summary = _summary(experiment, todo, status)
        note(describe(experiment, summary))
        save_json(out / "plan.json", record(experiment, source, workers))
        _run(todo, experiment, store, workers)
        store.finish(experiment.names)
        after = _summary(experiment, *_open(experiment, store, retry=False))
    say(
        f"{out}: {after.done} rows" + (f", {after.failed} of them failed (--retry tries again)" if after.failed else "")
    )
    return after


def _run(todo: Sequence[Job], experiment: Experiment, store: Store, workers: int) -> None:
    stamp = {"version": provenance.versions().get("pellucid"), "commit": provenance.commit()}
    setting = Setting(
        experiment.plan, experiment.device, experiment.precision, experiment.fingerprints, store.pictures, stamp
    )
    with Progress({job.name: weight(job) for job in todo}) as progress:
        for job, tables in work(todo, setting, workers):
            store.put(job.name, tables)
            failed = [row for row in tables["rows"] if row["status"] != "ok"]
            progress.done(job.name, f"{job.level.task.name} {job.run.label}")
            for row in failed:
                progress.say(f"pellucid: {row['task']}, {row['label']}, {row['image']}: {row['error']}")


def weight(job: Job) -> int:
    """Network calls of a job, for the time left; at least one a picture."""
    return len(job.images) * (job.run.nfe or 1)


def _open(experiment: Experiment, store: Store, retry: bool) -> tuple[list[Job], dict[str, str]]:
    """The jobs, or the parts of them, whose rows are not there; and the status of those that are."""
    rows = store.read()
    require_alike(store.folder, rows, experiment.plan, experiment.images)
    status = {row["key"]: row["status"] for row in rows}
    done = {key for key, state in status.items() if state == "ok" or not retry}
    todo = [job.only(set(job.keys) - done) for job in experiment.jobs]
    return [job for job in todo if job.keys], status


def _summary(experiment: Experiment, todo: Sequence[Job], status: dict[str, str]) -> Summary:
    mine = [key for job in experiment.jobs for key in job.keys]
    return Summary(
        rows=len(mine),
        done=sum(key in status for key in mine),
        batches=len(todo),
        calls=sum(len(job.keys) * (job.run.nfe or 0) for job in todo),
        failed=sum(status.get(key, "ok") != "ok" for key in mine),
    )


def describe(experiment: Experiment, summary: Summary) -> str:
    """What will be done, for people."""
    plan = experiment.plan
    methods = list(dict.fromkeys(job.run.label for job in experiment.jobs))
    text = (
        f"{len(experiment.images)} pictures, {sum(len(t.levels) for t in plan.task)} tasks, {len(methods)} methods "
        f"({', '.join(methods)}), {len(plan.prior.names)} priors, {len(plan.seeds)} seeds: "
        f"{summary.rows} reconstructions"
    )
    there = f", {summary.done} of them done" if summary.done else ""
    return f"{text}{there}; {summary.calls} network calls to make, in {summary.batches} batches"


def record(experiment: Experiment, source: str, workers: int) -> dict[str, Any]:
    """Everything that the results depend on, and the keys of their rows: a folder may hold rows of older plans."""
    plan = experiment.plan
    return {
        "source": source,
        "plan": plan.resolved(),
        "metrics": {m: _metric_text(m, plan) for m in plan.metrics},
        "images": [{"name": i.name, "sha256": i.sha256, "shape": list(i.shape)} for i in experiment.images],
        "priors": experiment.fingerprints,
        "networks": _networks(experiment),
        "device": experiment.device,
        "precision": experiment.precision,
        "workers": workers,
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "machine": provenance.machine(experiment.device),
        "written": provenance.now(),
        "keys": [key for job in experiment.jobs for key in job.keys],
    }


def _networks(experiment: Experiment) -> dict[str, str]:
    """What methods name besides priors, such as severity encoders, with their hashes."""
    runs = dict.fromkeys(job.run for job in experiment.jobs)
    found = (of_networks(run.name, {**run.preset.options, **dict(run.given)}) for run in runs)
    return {name: digest for part in found for name, digest in part.items()}


def _metric_text(name: str, plan: Plan) -> str:
    from pellucid.bench.scores import find

    return find(name).text(plan.protocol)


def save_json(path: Path, content: dict[str, Any]) -> None:
    """Writes beside, then renames."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n")


def _require_new(out: Path) -> None:
    """Finds out whether the folder could be made, without making it. Raises `ConfigError`."""
    place = next((p for p in (out, *out.absolute().parents) if p.exists()), Path("/"))
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise ConfigError(f"cannot write into {out}: {place} is no folder that can be written to")
    with tempfile.TemporaryFile(dir=place):
        pass
