"""The bar of a running restoration, and its time limit: a callback of the loop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn

from pellucid.account import current
from pellucid.step import Step


class Watch:
    """Shows steps, network calls and the time left; ends the run once the time limit is reached.

    Args:
        progress: where to show it.
        task: the bar of this picture.
        rounds: how often the loop runs, for samples that are not drawn together.
        limit: seconds from now, or None.

    Attributes:
        round: which of them is running, from 0; whoever runs the loop says so.
    """

    def __init__(self, progress: Progress, task: TaskID, rounds: int, limit: float | None) -> None:
        self.progress, self.task, self.rounds, self.round = progress, task, rounds, 0
        self.deadline = None if limit is None else time.perf_counter() + limit

    @property
    def expired(self) -> bool:
        """Whether the time limit is reached."""
        return self.deadline is not None and time.perf_counter() >= self.deadline

    def __call__(self, step: Step) -> bool:
        """Called after every step; True ends the run, which keeps the estimate reached so far."""
        account = current()
        calls = "" if account is None else f"NFE {int(account.nfe.max())}"
        done = self.round * step.total + step.index + 1
        self.progress.update(self.task, completed=done, total=self.rounds * step.total, calls=calls)
        return self.expired and step.index + 1 < step.total


@contextmanager
def bar(title: str, *, quiet: bool) -> Iterator[tuple[Progress, TaskID]]:
    """A bar on stderr while the block runs, if there is a terminal to show it on."""
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[calls]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        yield progress, progress.add_task(title, total=None, calls="")
