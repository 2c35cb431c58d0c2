"""A folder's rows are all of one kind, and the report is of the plan that was run last and of nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pellucid.bench.plan import Plan
from pellucid.bench.report import grids
from pellucid.bench.report.results import load
from pellucid.bench.report.tables import tables
from pellucid.bench.run import bench
from pellucid.bench.store import Store
from pellucid.errors import ConfigError
from pellucid.images import read
from tests.bench.conftest import Planner

Plans = Callable[..., Plan]
DDNM = [{"name": "ddnm", "nfe": 3}]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"protocol": {"border": 4}}, '"border": 0.*there.*"border": 4.*in the plan'),
        ({"metrics": ["psnr", "residual"]}, r'metrics = \["psnr"\] there, \["psnr", "residual"\] in the plan'),
        ({"features": True}, "features = false there, true in the plan"),
        ({"save": True}, "save = false there, true in the plan"),
        ({"trajectory": ["psnr"]}, "trajectory = "),
    ],
)
def test_a_folder_scored_or_kept_otherwise_is_refused(
    change: dict[str, Any], text: str, plan: Plans, tmp_path: Path
) -> None:
    bench(plan(method=DDNM), tmp_path / "out")
    before = (tmp_path / "out" / "plan.json").read_text()
    for dry_run in (True, False):
        with pytest.raises(ConfigError, match=rf"take another folder \(-o\) or keep to its settings; .*{text}"):
            bench(plan(method=DDNM, **change), tmp_path / "out", dry_run=dry_run)
    assert (tmp_path / "out" / "plan.json").read_text() == before
    assert bench(plan(method=DDNM, **change), tmp_path / "other").failed == 0


def test_pictures_cut_otherwise_or_replaced_are_refused(raw: Planner, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)

    def draw() -> None:
        Image.fromarray(rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(folder / "a.png")

    draw()
    data = {"path": str(folder), "size": 16}
    bench(Plan.of(raw(data=data)), tmp_path / "out")
    for change in ({"size": 12}, {"crop": "square"}, {"colour": "as-is"}):
        with pytest.raises(ConfigError, match=rf"\[data\] {next(iter(change))} = .* there"):
            bench(Plan.of(raw(data=data | change)), tmp_path / "out")
    draw()
    with pytest.raises(ConfigError, match="other pictures named a"):
        bench(Plan.of(raw(data=data)), tmp_path / "out")


def test_rows_without_a_record_of_how_they_were_scored_are_refused(plan: Plans, tmp_path: Path) -> None:
    bench(plan(), tmp_path)
    (tmp_path / "plan.json").unlink()
    with pytest.raises(ConfigError, match=r"no plan\.json"):
        bench(plan(), tmp_path)


def test_what_makes_no_difference_is_allowed(raw: Planner, tmp_path: Path) -> None:
    bench(Plan.of(raw(metrics=["psnr", "residual"])), tmp_path)
    data = raw()["data"] | {"count": 4}
    after = bench(Plan.of(raw(metrics=["residual", "psnr", "psnr"], data=data, title="longer")), tmp_path)
    assert (after.rows, after.done, after.failed) == (8, 8, 0)


def test_the_report_leaves_out_the_rows_of_older_plans(plan: Plans, tmp_path: Path) -> None:
    values = {}
    for eta in (0.85, 0.0):
        bench(plan(method=[DDNM[0] | {"options": {"eta": eta}}]), tmp_path)
        (table,) = tables(load([tmp_path]))
        (line,) = table.lines
        mine = [r["psnr"] for r in Store(tmp_path).read() if json.loads(r["options"])["eta"] == eta]
        assert len(mine) == 3 and line.cells["psnr"].mean == pytest.approx(np.mean(mine))
        values[eta] = line.cells["psnr"].mean
    assert values[0.85] != values[0.0] and len(Store(tmp_path).read()) == 6


def test_two_settings_under_one_label_are_not_averaged(plan: Plans, tmp_path: Path) -> None:
    for eta, name in ((0.85, "one"), (0.0, "two"), (0.0, "one")):
        bench(plan(method=[DDNM[0] | {"options": {"eta": eta}}]), tmp_path / name)
    assert len(load([tmp_path / "one", tmp_path / "two"]).groups[0].rows) == 3  # the same rows, once
    bench(plan(method=[DDNM[0] | {"options": {"eta": 0.5}}]), tmp_path / "two")
    with pytest.raises(ConfigError, match=r"one and .*two: ddnm-3 has two results with different settings for ., sr"):
        load([tmp_path / "one", tmp_path / "two"])
    record = json.loads((tmp_path / "one" / "plan.json").read_text())
    del record["keys"]  # as earlier versions left it
    (tmp_path / "one" / "plan.json").write_text(json.dumps(record))
    with pytest.raises(ConfigError, match="run the plan again in a folder that an earlier version made"):
        load([tmp_path / "one"])


def test_the_picture_of_a_measurement_is_the_measurements_own(
    plan: Plans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that is changed and keeps its name is another measurement, and its grid shows that one."""
    shown: list[Any] = []
    monkeypatch.setattr(grids, "_grid", lambda columns, y, *rest: shown.append(y))
    for factor in (4, 2):
        task = [{"name": "sr", "operator": f"bicubic:factor={factor}"}]
        bench(plan(task=task, save=True, method=DDNM), tmp_path)
        assert list(grids.draw(load([tmp_path]), tmp_path, 1))
    assert [tuple(y.shape) for y in shown] == [(3, 4, 4), (3, 8, 8)]


def test_every_folder_has_its_own_truths(plan: Plans, raw: Planner, tmp_path: Path) -> None:
    """Two sizes of the same pictures, reported together: a row is compared with the truth beside it."""
    for size in (16, 8):
        task = [{"name": f"sr at {size}", "operator": "bicubic:factor=4"}]
        bench(plan(task=task, save=True, data=raw()["data"] | {"size": size}), tmp_path / str(size))
    results = load([tmp_path / "16", tmp_path / "8"])
    for group, size in zip(results.groups, (16, 8), strict=True):
        file = results.picture(group.rows[0], "truth-a.png")
        assert file is not None and tuple(read(file).pixels.shape) == (3, size, size)
