"""A block of known size is seen, also when it is gone before the block ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pellucid.metrics import memory
from pellucid.metrics.memory import peak_memory

MIB = 2**20
LINUX = pytest.mark.skipif(not memory.STATUS.exists(), reason="the high-water mark is Linux's")


def touch(mebibytes: int) -> None:
    np.ones(mebibytes * MIB, dtype=np.uint8)  # is freed at once


@LINUX
def test_a_short_peak_is_seen_and_earlier_ones_are_not() -> None:
    touch(300)
    with peak_memory() as small:
        touch(64)
    if not small.exact:
        pytest.skip("this system does not let the mark be set back")
    assert 60 * MIB < small.increment < 100 * MIB
    with peak_memory() as nothing:
        pass
    assert nothing.increment < 20 * MIB


@LINUX
def test_blocks_within_each_other() -> None:
    with peak_memory() as outer:
        touch(200)
        with peak_memory() as inner:
            touch(50)
    if not inner.exact:
        pytest.skip("this system does not let the mark be set back")
    assert 190 * MIB < outer.increment < 240 * MIB and 45 * MIB < inner.increment < 90 * MIB


def test_it_ends_when_the_block_fails() -> None:
    with pytest.raises(ZeroDivisionError), peak_memory():
        raise ZeroDivisionError
    assert not memory._running


def test_elsewhere_it_is_a_lower_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("resource")
    monkeypatch.setattr(memory, "STATUS", Path("/nowhere"))
    with peak_memory() as peak:
        touch(1)
    assert not peak.exact and peak.highest > 10 * MIB and peak.increment >= 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu() -> None:
    with peak_memory("cuda:0") as peak:
        torch.zeros(64 * MIB, dtype=torch.uint8, device="cuda:0")
    assert 64 * MIB <= peak.increment < 70 * MIB
