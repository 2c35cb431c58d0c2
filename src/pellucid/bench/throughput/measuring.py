"""Runs that take turns, with bare network calls between them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from pellucid.bench.throughput.ways import Pictures, Work
from pellucid.errors import ConfigError


@dataclass(frozen=True)
class Run:
    """One way, once.

    Attributes:
        way: its name.
        seconds, cpu: of the wall clock and of the processor.
        nfe: network calls that the pictures needed, summed over them.
        call, call_cpu: of one bare call on a full batch, the median of those before and after.
        difference: of any pixel from the same picture's one by one; None for that itself.
    """

    way: str
    seconds: float
    cpu: float
    nfe: int
    call: float
    call_cpu: float
    difference: float | None = None


def measure(work: Work, rounds: int, ways: Sequence[str] | None = None, calls: int = 4) -> Iterator[Run]:
    """All ways in turn, `rounds` times, every round beginning with another.

    Raises:
        ConfigError: there is no such way.
    """
    known = work.ways
    names = list(ways or known)
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"there is no way {unknown[0]!r}; they are {', '.join(known)}")
    device, nfe = work.problems[0].y.device, sum(work.calls_needed())
    alone = known["one by one"]() if "one by one" not in names else None
    for _ in range(2):
        work.bare()
    before = [_clocked(work.bare, device) for _ in range(calls)]
    pending: list[tuple[Run, Pictures]] = []
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            (seconds, cpu), pictures = _with_result(known[name], device)
            after = [_clocked(work.bare, device) for _ in range(calls)]
            call, call_cpu = (statistics.median(clock[k] for clock in before + after) for k in (0, 1))
            before = after
            alone = pictures if name == "one by one" else alone
            pending.append((Run(name, seconds, cpu, nfe, call, call_cpu), pictures))
            if alone is not None:
                yield from (_compared(run, found, alone) for run, found in pending)
                pending = []


def _compared(run: Run, found: Pictures, alone: Pictures) -> Run:
    if run.way == "one by one":
        return run
    difference = max(float((a - b).abs().max()) for a, b in zip(found, alone, strict=True))
    return replace(run, difference=difference)


def _clocked(work: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Seconds of the wall clock and of the processor."""
    return _with_result(work, device)[0]


def _with_result(work: Callable[[], Any], device: torch.device) -> tuple[tuple[float, float], Any]:
    """((seconds of the wall clock, of the processor), result)."""
    _wait(device)
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    _wait(device)
    return (time.perf_counter() - wall, time.process_time() - cpu), result


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
