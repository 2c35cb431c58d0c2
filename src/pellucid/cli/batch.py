"""`pellucid restore` over all its pictures: one that fails does not keep the others from being restored."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from pellucid.cli import adapting
from pellucid.cli.budgeting import budgeted
from pellucid.cli.case import Case
from pellucid.cli.console import NOTICE, duration, note, say
from pellucid.cli.dirac import DIRAC
from pellucid.cli.drawn import Drawn
from pellucid.cli.inputs import Job, require_own
from pellucid.cli.restoring import Restored, find_truth, psnr, read_truth, restore
from pellucid.cli.saving import cost, resolved, save, severity, units
from pellucid.cli.settings import Setup
from pellucid.errors import ImageFileError, PellucidError
from pellucid.images import Picture, read, require_writable
from pellucid.images.hu import CT_WINDOW
from pellucid.images.write import require_window

LONG = 5.0  # seconds; a shorter run needs no announcement


@dataclass(frozen=True)
class Outputs:
    """What becomes of the results."""

    depth: str = "auto"
    compare: Path | None = None
    dry_run: bool = False
    json: bool = False
    window: tuple[float, float] | None = None
    keep_identity: bool = False
    tradeoff: bool = False
    adapters: Mapping[Path, Path] = field(default_factory=dict)  # by the measurement


def restore_all(setup: Setup, jobs: Sequence[Job], outputs: Outputs) -> None:
    """Restores every picture.

    Raises:
        PellucidError: the only picture failed.
        typer.Exit: with the first failure's code, after the others of several pictures are done.
    """
    failures = []
    setup = budgeted(setup, jobs, lambda job: _case(setup, job, outputs), quiet=outputs.json)
    for job in jobs:
        try:
            _one(setup, job, outputs)
        except PellucidError as error:
            if len(jobs) == 1:
                raise
            note(f"pellucid: {error}")
            failures.append(error)
    if not outputs.json:
        say(NOTICE)
    if failures:
        note(f"pellucid: {len(failures)} of {len(jobs)} pictures were not restored")
        raise typer.Exit(failures[0].exit_code)


def _one(setup: Setup, job: Job, outputs: Outputs) -> None:
    began = time.perf_counter()
    case = _case(setup, job, outputs)
    _require_target(case, job, outputs.window)
    true = None if outputs.compare is None else find_truth(outputs.compare, job.source)
    _require_apart(job, setup.request.samples, [job.source] if true is None else [job.source, true], outputs.tradeoff)
    truth = None if true is None else read_truth(true, case)
    tradeoff = Drawn.prepare(case, truth) if outputs.tradeoff else None
    settings = resolved(case)
    predicted = case.predicted_seconds()
    todo = adapting.ahead(case, predicted / setup.request.samples, job.source.name, quiet=outputs.json)
    predicted += 0.0 if todo is None else todo.seconds
    report: dict[str, Any] = {"input": str(job.source), "predicted_seconds": round(predicted, 2), "settings": settings}
    report |= severity(case)
    report |= {} if case.entry is None else {DIRAC: {"prior": setup.request.prior, **case.entry.words}}
    report |= units(job.target, case.picture.ct, outputs.window)
    if case.picture.ct is not None and setup.window is None:
        note(f"{job.source.name} is CT, and the prior {setup.request.prior} is not made for it; --prior ct is")
    if outputs.dry_run:
        report["output"] = str(job.target)
        report |= {} if todo is None else {"adaptation": todo.report()}
        _show(report, outputs, lambda: _plan(case, job, settings, predicted, todo))
        return
    if predicted > LONG and not outputs.json:
        note(_forecast(case, job, predicted))
    if todo is not None:
        place = outputs.adapters.get(job.source)
        case = adapting.adapted_case(case, todo, place, job.source.name, quiet=outputs.json)
        report["settings"] = settings = resolved(case)
    report |= adapting.report(case)
    record = None if tradeoff is None else tradeoff.recording
    restored = restore(case, job.source.name, quiet=outputs.json, record=record)
    report |= save(case, job, restored, settings, outputs.depth, outputs.window) | cost(restored)
    if tradeoff is not None:
        report |= tradeoff.save(job, restored, report, outputs.window)
    report |= {"psnr": _scores(restored, case, truth), "notice": NOTICE}
    report["total_seconds"] = round(time.perf_counter() - began, 3)
    _show(report, outputs, lambda: _summary(case, job, restored, report))


def _case(setup: Setup, job: Job, outputs: Outputs) -> Case:
    window = setup.window or CT_WINDOW
    return Case.make(setup, read(job.source, window=window, keep_identity=outputs.keep_identity))


def _require_target(case: Case, job: Job, window: tuple[float, float] | None) -> None:
    """Raises `ImageFileError` where the result will not go into its file."""
    channels, *_ = case.operator.image_shape
    is_ct = case.picture.ct is not None
    require_writable(
        job.target,
        is_image=channels in (1, 3),
        has_alpha=case.picture.alpha is not None,
        is_ct=is_ct,
        channels=channels,
    )
    require_window(job.target, window, is_ct=is_ct)


def _require_apart(job: Job, samples: int, needed: Sequence[Path], tradeoff: bool) -> None:
    """Raises `ImageFileError` where a result would overwrite its measurement, the truth, or somebody's scan."""
    targets = job.targets(samples, tradeoff=tradeoff)
    written = {target.resolve() for target in targets}
    for path in needed:
        if path.resolve() in written:
            raise ImageFileError(f"{path} would be overwritten by a result; choose another output")
    for target in targets:
        require_own(target)


def _show(report: dict[str, Any], outputs: Outputs, text: Any) -> None:
    say(json.dumps(report) if outputs.json else text())


def _scores(restored: Restored, case: Case, truth: Picture | None) -> dict[str, float] | None:
    if truth is None:
        return None
    scores = {"result": round(psnr(restored.mean, truth.pixels), 3)}
    if len(restored.samples) > 1:
        scores["one_sample"] = round(psnr(restored.samples[0], truth.pixels), 3)
    if case.picture.pixels.shape == truth.pixels.shape:
        scores["measurement"] = round(psnr(case.picture.pixels, truth.pixels), 3)
    return scores


def _plan(case: Case, job: Job, settings: dict[str, Any], predicted: float, todo: adapting.Ahead | None = None) -> str:
    lines = {
        "input": job.source,
        "output": job.target,
        **{key: value for key, value in settings.items() if key not in ("options", "adapt") and value is not None},
        **{f"option {key}": value for key, value in settings["options"].items()},
        "predicted time": duration(predicted),
    }
    if case.severity is not None:
        lines["begins"] = _begins(case)
    if todo is not None:
        lines["adapts to"] = todo.text(case)
    elif adapter := adapting.text(case):
        lines["prior"] = f"{lines['prior']} {adapter}"
    if case.entry is not None:
        lines["path"] = case.entry.text
    return "\n".join(f"{key:18s} {value}" for key, value in lines.items()) + "\nnothing was written"


def _forecast(case: Case, job: Job, predicted: float) -> str:
    limit = case.setup.limit
    tiles = f" in {case.tiles} tiles" if case.tiles > 1 else ""
    cut = f", stopped after {duration(limit)}" if limit is not None and limit < predicted else ""
    hint = "; --max-side or --nfe make it shorter" if predicted > 600 and not cut else ""
    return f"{job.source.name}{tiles}: about {duration(predicted)}{cut}{hint}"


def _summary(case: Case, job: Job, restored: Restored, report: dict[str, Any]) -> str:
    network = f"{restored.nfe} network calls" + (f", {restored.vjp} gradients" if restored.vjp else "")
    text = f"{report['output']}: {case.preset.name}, {network}, {duration(restored.seconds)}"
    if scores := report["psnr"]:
        before = f" (the measurement: {scores['measurement']:.2f} dB)" if "measurement" in scores else ""
        text += f", PSNR {scores['result']:.2f} dB{before}"
    if adaptation := adapting.text(case):
        text += f"\n{adaptation}"
    if case.severity is not None:
        text += f"\n{_begins(case)}"
    if case.entry is not None:
        text += f"\n{case.entry.text}"
    if "tradeoff" in report:
        text += f"\n{report['tradeoff']}: what other stops would have given"
    if case.estimated is not None:
        text += f"\nestimated: {case.estimated}"
    if (ct := case.picture.ct) is not None:
        text += f"\n{_hounsfield(report, ct.window)}"
    if not restored.complete:
        text += "\nstopped by the time limit: this is the estimate reached by then"
    if "std" in report:
        scale = "in Hounsfield units" if report["unit"] == "HU" else f"white is {report['std_white']:.3g}"
        text += f"\n{report['std']}: how far {len(restored.samples)} samples differ, {scale}"
    return text


def _begins(case: Case) -> str:
    found = case.severity
    assert found is not None
    s2, t, steps = float(found.s2), float(found.t), int(found.steps)
    return f"severity {s2:.3g}, begins at {t:.4g} of {case.prior.process.t_max:.4g}, {steps} of {found.full} steps"


def _hounsfield(report: dict[str, Any], window: tuple[float, float]) -> str:
    low, high = window
    if report["unit"] == "HU":
        return f"values in Hounsfield units; computed in [0, 1], where 0 is {low:g} HU and 1 is {high:g} HU"
    return f"black is {report['black_hu']:g} HU and white {report['white_hu']:g} HU"
