"""How much memory a piece of work took at its peak."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class Peak:
    """Memory of a block of code, known when it has ended.

    Attributes:
        device: "cpu", or the GPU's name.
        source: what it was read from.
        before: bytes in use when the block began.
        highest: the most bytes in use within it.
        exact: False where the system keeps one peak since the process began: then the increment is a lower bound.
        aside: bytes that `unmeasured` work within the block left in use; they count neither.
    """

    device: str
    source: str
    before: int
    highest: int
    exact: bool = True
    aside: int = 0

    @property
    def increment(self) -> int:
        """Bytes that the block took at its peak beyond what was in use before, at least 0."""
        return max(0, self.highest - self.before)


_running: list[Peak] = []


@contextmanager
def peak_memory(device: str | torch.device = "cpu") -> Iterator[Peak]:
    """Measures the block: resident memory of the process on the CPU, PyTorch's own allocations on a CUDA GPU.

    On Linux the system's high-water mark is set back when the block begins, so that even the shortest peak counts;
    elsewhere the mark of the whole process is all there is (`exact` is False then). Memory that the process holds free
    is given back before the block begins where the C library can (glibc); elsewhere it is used again without being
    counted, and the first run of a piece of work says more than the second. All threads count. Blocks may lie within
    each other.
    """
    place = torch.device(device)
    peak = _begin_cuda(place) if place.type == "cuda" else _begin_cpu()
    _running.append(peak)
    try:
        yield peak
    finally:
        _note(place)
        _running.remove(peak)


@contextmanager
def unmeasured(device: str | torch.device = "cpu") -> Iterator[None]:
    """Within `peak_memory`: work that does not belong to what is measured, such as scoring a step of a method.

    Its peak does not count, nor does what it leaves in use. Where the system's mark cannot be set back (`Peak.exact` is
    False), it counts.
    """
    place = torch.device(device)
    _note(place)
    before = _used(place)
    try:
        yield
    finally:
        _set_back(place)
        grown = max(0, _used(place) - before)
        for peak in _open(place):
            peak.aside += grown


def _begin_cuda(place: torch.device) -> Peak:
    torch.cuda.synchronize(place)
    _note(place)
    _set_back(place)
    used = _used(place)
    return Peak(str(place), "torch.cuda.max_memory_allocated", used, used)


def _begin_cpu() -> Peak:
    _note(torch.device("cpu"))
    if not STATUS.exists():
        mark = _process_mark()
        return Peak("cpu", "ru_maxrss of the process", mark, mark, exact=False)
    if not _set_back(torch.device("cpu")):
        mark = _status("VmHWM")
        return Peak("cpu", "VmHWM of the process", mark, mark, exact=False)
    used = _status("VmRSS")
    return Peak("cpu", "VmHWM", used, used)


def _set_back(place: torch.device) -> bool:
    """Lets the mark begin again from what is in use now; False where the system does not."""
    if place.type == "cuda":
        torch.cuda.synchronize(place)
        torch.cuda.reset_peak_memory_stats(place)
        return True
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)  # what the allocator keeps for later would hide what comes
    try:
        CLEAR.write_text("5")  # sets VmHWM back to VmRSS
    except OSError:
        return False
    return True


def _used(place: torch.device) -> int:
    if place.type == "cuda":
        return torch.cuda.memory_allocated(place)
    return _status("VmRSS") if STATUS.exists() else 0


def _open(place: torch.device) -> list[Peak]:
    return [peak for peak in _running if torch.device(peak.device) == place]


def _note(place: torch.device) -> None:
    """Hands the present mark to every block on this device that is still running."""
    open_ones = _open(place)
    if not open_ones:
        return
    if place.type == "cuda":
        torch.cuda.synchronize(place)
        mark = torch.cuda.max_memory_allocated(place)
    else:
        mark = _status("VmHWM") if STATUS.exists() else _process_mark()
    for peak in open_ones:
        peak.highest = max(peak.highest, mark - peak.aside)


def _status(key: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024


def _process_mark() -> int:
    import resource

    mark = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return mark if sys.platform == "darwin" else mark * 1024
