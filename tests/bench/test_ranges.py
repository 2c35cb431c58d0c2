"""Operators whose numbers are drawn for each picture: the same for every method, within the range, and in the key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pellucid.bench.measuring import Level
from pellucid.bench.plan import Noise, Plan, Task
from pellucid.bench.report.results import load
from pellucid.bench.run import bench
from pellucid.errors import ConfigError
from pellucid.operators.ranges import drawn, has_range
from tests.bench.conftest import Planner

NAMES = [f"picture {number}" for number in range(200)]


def strengths(task: Task, seed: int = 0) -> list[float]:
    """The standard deviations of the blurs of all pictures."""
    texts = [Level(task, Noise(0, 0), seed).operators(name)[0] for name in NAMES]
    return [float(text.removeprefix("gaussian-blur:std=")) for text in texts]


def test_every_picture_has_a_number_of_its_own_out_of_the_range() -> None:
    found = strengths(Task("blur", "gaussian-blur:std=0.3..3"))
    assert (
        found == strengths(Task("again", "gaussian-blur:std=0.3..3")) != strengths(Task("a", "gaussian-blur:std=1..3"))
    )
    assert found != strengths(Task("blur", "gaussian-blur:std=0.3..3"), seed=1)
    assert 0.3 <= min(found) < 0.4 < 2.9 < max(found) <= 3 and len(set(found)) == len(NAMES)
    assert abs(np.mean(found) - 1.65) < 4 * 2.7 / 12**0.5 / len(NAMES) ** 0.5


def test_masks_of_a_range_have_a_share_and_a_seed_of_their_own() -> None:
    true, told = Level(Task("m", "mask:random=0.7..0.8", mismatch="mask:random=0.5"), Noise(0, 0)).operators("a")
    assert true.startswith("mask:random=0.7") and ",seed=" in true
    assert told.startswith("mask:random=0.5,seed=") and told.split("seed=")[1] == true.split("seed=")[1]


def test_whole_ranges_draw_whole_numbers_with_both_ends() -> None:
    rng = np.random.default_rng(0)
    assert {drawn("a:b=1..3", rng) for _ in range(50)} == {"a:b=1", "a:b=2", "a:b=3"}
    assert "." in drawn("a:b=1..3.0", rng)
    assert not has_range("kernel:file=../a") and has_range("a:b=-1..2e0")


def test_a_range_that_ends_below_its_start_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"the range 3\.\.0\.3"):
        Task("blur", "gaussian-blur:std=3..0.3")
    with pytest.raises(ConfigError, match=r"the range 2\.\.1"):
        Task("blur", "gaussian-blur:std=1", mismatch="gaussian-blur:std=2..1")


def test_methods_of_a_run_get_the_same_operators_and_rows_name_them(raw: Planner, tmp_path: Path) -> None:
    made = raw()
    made["task"] = [{"name": "blur", "operator": "gaussian-blur:std=0.5..1.5", "noise": 0.05}]
    made["method"] = [{"name": "unconditional", "label": label, "nfe": nfe} for label, nfe in (("one", 2), ("two", 3))]
    assert bench(Plan.of(made), tmp_path / "run").failed == 0
    (group,) = load([tmp_path / "run"]).groups
    by_label = [{row["image"]: row["operator"] for row in group.of(label)} for label in ("one", "two")]
    assert by_label[0] == by_label[1] and len(set(by_label[0].values())) == len(by_label[0]) > 1
    assert all(row["operator"] == row["operator_told"] for row in group.rows)
