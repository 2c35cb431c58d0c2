"""Jobs over processes. What comes out does not depend on how many there are: each has the same threads and pieces."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import torch

from pellucid.bench.execute import Rows, Setting, execute
from pellucid.bench.jobs import Job
from pellucid.errors import PellucidError

_setting: Setting | None = None


class WorkerDied(PellucidError):
    """A worker process was ended from outside, mostly for want of memory."""


def work(jobs: Sequence[Job], setting: Setting, workers: int) -> Iterator[tuple[Job, Rows]]:
    """Every job with its tables, in the order in which they are done.

    Raises:
        WorkerDied: a process was killed; what was done is on disk, and the same command goes on from there.
    """
    if workers == 1 or len(jobs) <= 1:
        yield from _here(jobs, setting)
        return
    context = get_context("spawn")  # a fork of a process with threads may hang
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, _begin, (setting, os.getpid()))
    try:
        futures = {pool.submit(_work, job): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise WorkerDied(
            "a worker process was killed, perhaps for want of memory; the same command goes on from here, "
            "with fewer --workers or a smaller batch"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _here(jobs: Sequence[Job], setting: Setting) -> Iterator[tuple[Job, Rows]]:
    before = torch.get_num_threads()
    _set_threads(setting.plan.threads)
    try:
        for job in jobs:
            yield job, execute(job, setting)
    finally:
        torch.set_num_threads(before)


def _begin(setting: Setting, parent: int) -> None:
    global _setting
    _setting = setting
    _set_threads(setting.plan.threads)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _work(job: Job) -> Rows:
    assert _setting is not None
    return execute(job, _setting)


def _set_threads(threads: int) -> None:
    if threads:
        torch.set_num_threads(threads)


def _leave_with(parent: int) -> None:
    """Ends this worker when the process that started it is gone, so that a killed run leaves nothing behind."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
