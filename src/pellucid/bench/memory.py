"""How much memory a piece of work needed at its peak."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

MIB = 2**20
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class Peak:
    """Filled in when the work is done.

    Attributes:
        added: MiB above what was there before; None where the system does not tell.
        total: MiB of the process, or of the GPU's tensors, at the peak.
    """

    added: float | None = None
    total: float | None = None


@contextmanager
def watched(device: str) -> Iterator[Peak]:
    """The peak of the block: of the GPU's tensors on a GPU, else of the process's resident memory (Linux)."""
    peak = Peak()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device) / MIB
        yield peak
        peak.total = torch.cuda.max_memory_allocated(device) / MIB
        peak.added = peak.total - before
        return
    _give_back()
    with suppress(OSError):
        RESET.write_text("5")  # the high-water mark starts again from the present size
    before_kib = _kib("VmRSS")
    yield peak
    after_kib = _kib("VmHWM")
    if before_kib is not None and after_kib is not None:
        peak.total, peak.added = after_kib / 1024, max(0, after_kib - before_kib) / 1024


def _give_back() -> None:
    """Lets the allocator return what it only keeps for later, which would hide what the work takes (glibc)."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _kib(name: str) -> int | None:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)
