"""`pellucid restore --max-nfe` and `--seconds` with flash: a first pass over all pictures, and how late they begin."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from pellucid.budget import Paces, Survey, severity_start, survey, with_share
from pellucid.cli.case import Case
from pellucid.cli.console import note
from pellucid.cli.inputs import Job
from pellucid.cli.progress import bar
from pellucid.cli.settings import Setup
from pellucid.errors import PellucidError


def budgeted(setup: Setup, jobs: Sequence[Job], make: Callable[[Job], Case], *, quiet: bool) -> Setup:
    """The setup with the share of the way that meets the budget, as the method's option `share`.

    The severity encoder looks at every picture once. A picture that cannot be used is left out here; it is reported
    when its turn comes.

    Raises:
        PellucidError: the only picture cannot be used.
    """
    request = setup.request
    if not setup.budgeted:
        return setup
    began, paces, parts, case = time.perf_counter(), Paces(), list[Survey](), None
    with bar("severity", quiet=quiet) as (progress, task):
        for done, job in enumerate(jobs, 1):
            try:
                case = make(job)
                timed = request.seconds is not None
                parts.append(survey(case.method, case.problem(1), case.prior, timed=timed, paces=paces))
            except PellucidError:
                if len(jobs) == 1:
                    raise
            progress.update(task, completed=done, total=len(jobs))
    if case is None or not parts:
        return setup
    found, process, method = Survey.joined(parts), case.prior.process, case.method
    if request.max_nfe is not None:
        method = found.within(method, process, request.max_nfe)
    if request.seconds is not None:
        left = request.seconds - (time.perf_counter() - began)
        method = found.within_seconds(method, process, max(0.0, left) / request.samples)
    share = math.floor(severity_start(method).share * 1e4) / 1e4  # as it is printed, and within the budget
    method = with_share(method, share)
    calls = found.forecast(method, process).calls.double().mean()
    if not quiet:
        note(f"{len(found.s2)} pictures, {float(calls):.4g} network calls each in the mean: share={share:.4g}")
    return replace(setup, options={**setup.options, "share": share})
