"""How far an experiment is, on stderr: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from pellucid.cli.console import duration, note

EVERY = 30.0  # seconds between two lines


class Progress:
    """Counts jobs by their weight.

    Args:
        weights: of the jobs, by name.
    """

    def __init__(self, weights: Mapping[str, int]) -> None:
        self.weights, self.total = dict(weights), max(1, sum(weights.values()))
        self.count, self.weight = 0, 0
        self.began = self.told = time.perf_counter()
        self.console = Console(stderr=True)
        columns: tuple[Any, ...] = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[batches]} batches"),
            MofNCompleteColumn(),
            TextColumn("network calls"),
            TimeRemainingColumn(),
        )
        self.bar = Bar(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)

    def __enter__(self) -> Self:
        self.bar.start()
        self.task = self.bar.add_task("", total=self.total, batches="0")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bar.stop()

    def done(self, name: str, text: str) -> None:
        """A job is done; `text` says which."""
        self.count, self.weight = self.count + 1, self.weight + self.weights[name]
        batches = f"{self.count}/{len(self.weights)}"
        self.bar.update(self.task, completed=self.weight, description=text, batches=batches)
        if not self.console.is_terminal and time.perf_counter() - self.told > EVERY:
            self.told = time.perf_counter()
            note(f"{batches} batches, {self.weight / self.total:.0%}, about {duration(self.left)} left ({text})")

    def say(self, text: str) -> None:
        """A line above the bar."""
        self.bar.stop()
        note(text)
        self.bar.start()

    @property
    def left(self) -> float:
        """Seconds, at the speed so far."""
        return (time.perf_counter() - self.began) * (self.total - self.weight) / max(1, self.weight)
