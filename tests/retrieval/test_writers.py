"""Killed writers lose nothing, and several write at once without adding anything twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pellucid.retrieval import Index
from pellucid.retrieval.check import check
from tests.retrieval.conftest import fill

WRITER = """
import sys
from pellucid.retrieval import Index
index = Index.create(sys.argv[1], "pixel")
print("began", flush=True)
done = index.add(sys.argv[2:], batch=2, told=lambda d: print(d.added, flush=True))
print("done", done.added, done.already, flush=True)
"""


def writer(*arguments: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def added(process: subprocess.Popen[str]) -> tuple[int, int]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    _, new, already = out.splitlines()[-1].split()
    return int(new), int(already)


@pytest.mark.slow
def test_kill_9_in_the_middle_again_and_again(tmp_path: Path) -> None:
    photos, uri, count = fill(tmp_path / "photos", 40), tmp_path / "i", 40
    before = 0
    for lines in (0, 1, 3, 2):  # killed after so many versions of its own, and a moment into the next
        process = writer(uri, photos)
        said = 0
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == "began\n"
            while said < 2 * lines:
                said = int(process.stdout.readline())
            time.sleep(0.01 * lines)
            os.kill(process.pid, signal.SIGKILL)
        index = Index.open(uri)
        assert before + said <= len(index) < count  # what it said to be there is there
        assert not check(index).counts
        before = len(index)
    new, already = added(writer(uri, photos))
    assert (new, already) == (count - before, before)
    final = Index.open(uri)
    names = final.table.search().select(["name", "sha256"]).to_arrow().to_pydict()
    assert sorted(names["name"]) == [f"p{n:03d}.png" for n in range(count)] and len(set(names["sha256"])) == count
    assert check(final).fine


@pytest.mark.slow
def test_three_writers_at_once(tmp_path: Path) -> None:
    left, right = fill(tmp_path / "left", 24), fill(tmp_path / "right", 24, first=12)
    uri = tmp_path / "i"
    running = [writer(uri, left, right), writer(uri, right, left), writer(uri, left)]
    totals = [added(process) for process in running]
    index = Index.open(uri)
    assert len(index) == 36 == sum(new for new, _ in totals)
    assert totals[0][1] == 48 - totals[0][0] and totals[2][0] + totals[2][1] == 24
    report = check(index)
    assert report.rows == 36 and not report.counts


def test_a_writer_that_comes_second_adds_nothing_twice(tmp_path: Path) -> None:
    photos, uri = fill(tmp_path / "photos", 6), tmp_path / "i"
    one, two = Index.create(uri, "pixel"), Index.create(uri, "pixel")
    # Both have looked at what is there; then the other commits first.
    first = []
    done = two.add(photos, batch=3, told=lambda d: first.append(one.add(photos, batch=4)) if not first else None)
    assert (done.added, done.already) == (3, 3) and (first[0].added, first[0].already) == (3, 3)
    assert len(one) == len(two) == 6 and not check(two).counts
