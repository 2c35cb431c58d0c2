"""Rows: each once, the same however the work was cut, interrupted or shared out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pellucid.bench import execute
from pellucid.bench.plan import Plan
from pellucid.bench.run import bench
from pellucid.bench.store import Store
from pellucid.errors import ConfigError
from pellucid.loop import reconstruct
from pellucid.metrics import psnr
from tests.bench.conftest import Planner, write_plan

Plans = Callable[..., Plan]
Row = dict[str, Any]


def by_key(folder: Path) -> dict[str, Row]:
    rows = Store(folder).read()
    assert len({row["key"] for row in rows}) == len(rows)
    return {row["key"]: row for row in rows}


def numbers(folder: Path) -> dict[str, tuple[Any, ...]]:
    return {key: (row["label"], row["image"], row["psnr"], row["residual"]) for key, row in by_key(folder).items()}


def test_a_row_for_every_picture_and_method_with_what_it_cost(plan: Plans, tmp_path: Path, prior: Path) -> None:
    summary = bench(plan(), tmp_path / "out")
    rows = list(by_key(tmp_path / "out").values())
    assert summary.rows == summary.done == len(rows) == 6 and summary.failed == 0
    ddnm = [row for row in rows if row["label"] == "ddnm-3"]
    assert {row["image"] for row in ddnm} == {"a", "b", "c"}
    for row in ddnm:
        assert (row["nfe"], row["vjp"], row["nfe_asked"], row["status"], row["seed"]) == (3, 0, 3, "ok", 0)
        assert row["seconds"] > 0 and row["residual"] < 1e-5 and json.loads(row["options"])["eta"] == 0.85
        assert row["operator"] == row["operator_told"] == "bicubic:factor=4" and row["prior"] == str(prior)
    record = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert record["plan"]["batch"] == 2 and record["versions"]["torch"] == torch.__version__
    assert next(iter(record["priors"].values())) == ddnm[0]["prior_sha256"] and len(record["images"]) == 3
    assert "clipped" in record["metrics"]["psnr"]
    assert not list((tmp_path / "out" / "parts").iterdir())


def test_the_dry_run_counts_and_writes_nothing(plan: Plans, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = bench(plan(), tmp_path / "out", dry_run=True)
    assert (summary.rows, summary.done, summary.calls, summary.batches) == (6, 0, 9, 4)
    assert not (tmp_path / "out").exists() and "9 network calls" in capsys.readouterr().out


def test_pictures_come_out_the_same_in_batches_of_any_size(plan: Plans, tmp_path: Path) -> None:
    for size in (1, 3):
        bench(plan(batch=size), tmp_path / str(size))
    one, three = numbers(tmp_path / "1"), numbers(tmp_path / "3")
    assert one.keys() == three.keys()
    assert all(abs(one[key][2] - three[key][2]) < 1e-4 for key in one)


def test_random_masks_differ_by_picture_and_are_the_same_for_all_methods(plan: Plans, tmp_path: Path) -> None:
    bench(plan(task=[{"name": "mask", "operator": "mask:random=0.5"}]), tmp_path)
    seen = {(row["label"], row["image"]): row["operator"] for row in by_key(tmp_path).values()}
    assert len(set(seen.values())) == 3
    assert all(seen["ddnm-3", image] == seen["A+y", image] for image in "abc")


def test_a_lost_part_is_made_again_and_nothing_else(
    plan: Plans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench(plan(), tmp_path / "whole")
    broken = _interrupted_after(2, plan(), tmp_path / "cut", monkeypatch)
    assert 0 < len(by_key(broken)) < 6
    before = by_key(broken)
    bench(plan(), broken)
    after = by_key(broken)
    assert numbers(broken) == numbers(tmp_path / "whole")
    assert all(after[key]["finished"] == row["finished"] for key, row in before.items())


def _interrupted_after(count: int, plan: Plan, out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    calls = []

    def dying(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) > count:
            raise KeyboardInterrupt
        return reconstruct(*args, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(execute, "reconstruct", dying)
        bench(plan, out)
    return out


def test_a_longer_plan_adds_to_what_is_there(plan: Plans, tmp_path: Path) -> None:
    bench(plan(), tmp_path)
    before = by_key(tmp_path)
    summary = bench(plan(seeds=[0, 1]), tmp_path)
    after = by_key(tmp_path)
    assert summary.rows == len(after) == 12
    assert all(after[key]["finished"] == row["finished"] for key, row in before.items())


def test_another_label_needs_no_new_work(plan: Plans, tmp_path: Path) -> None:
    bench(plan(), tmp_path)
    before = by_key(tmp_path)
    bench(plan(method=[{"name": "ddnm", "nfe": 3, "label": "ours"}]), tmp_path)
    after = by_key(tmp_path)
    assert after.keys() == before.keys() and {row["label"] for row in after.values()} == {"ours", "A+y"}


def test_a_failing_method_gives_rows_that_say_so_and_can_be_tried_again(
    plan: Plans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(problem: Any, prior: Any, method: Any, **options: Any) -> Any:
        if method.name == "ddnm" and len(problem.y) > 1:
            raise RuntimeError("out of\nmemory")
        return reconstruct(problem, prior, method, **options)

    def broken(problem: Any, prior: Any, method: Any, **options: Any) -> Any:
        if method.name == "ddnm":
            raise RuntimeError("out of\nmemory")
        return reconstruct(problem, prior, method, **options)

    with monkeypatch.context() as patch:
        patch.setattr(execute, "reconstruct", broken)
        assert bench(plan(), tmp_path / "broken").failed == 3
    rows = [row for row in by_key(tmp_path / "broken").values() if row["status"] == "error"]
    assert {row["label"] for row in rows} == {"ddnm-3"} and rows[0]["error"] == "RuntimeError: out of memory"
    assert bench(plan(), tmp_path / "broken").failed == 3
    with monkeypatch.context() as patch:  # a batch that is too large does not keep its pictures from their results
        patch.setattr(execute, "reconstruct", failing)
        assert bench(plan(), tmp_path / "broken", retry=True).failed == 0
    assert len(by_key(tmp_path / "broken")) == 6


def test_pictures_and_features_and_steps_are_kept_if_asked_for(plan: Plans, tmp_path: Path) -> None:
    bench(plan(save=True, trajectory=["psnr", "residual"]), tmp_path)
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    rows = by_key(tmp_path)
    measured = {row["image"]: f"y-{row['measurement']}.png" for row in rows.values()}
    assert len(set(measured.values())) == 3  # both methods have the same
    assert {f"{key}.png" for key in rows} | {"truth-a.png", *measured.values()} <= names
    steps = Store(tmp_path).read("steps")
    mine = [s for s in steps if rows[s["key"]]["image"] == "a"]
    assert [s["step"] for s in mine] == [0, 1, 2] and all(s["residual"] < 1e-5 for s in mine)
    last, row = mine[-1], rows[mine[0]["key"]]
    assert abs(last["psnr"] - row["psnr"]) < 1e-3 and last["nfe"] == 3


def test_the_row_is_what_the_library_gives(plan: Plans, tmp_path: Path) -> None:
    """One row by hand: the measurement, the seed and the metric as documented."""
    from pellucid import load_prior, methods
    from pellucid.bench.data import collect, load
    from pellucid.bench.measuring import number
    from pellucid.operators import parse
    from pellucid.problem import Problem

    whole = plan(task=[{"name": "sr", "operator": "bicubic:factor=4", "noise": 0.05}], batch=1)
    bench(whole, tmp_path)
    row = next(r for r in by_key(tmp_path).values() if r["label"] == "ddnm-3" and r["image"] == "b")
    x = load(whole.data, collect(whole.data)[1].path)[None]
    operator = parse("bicubic:factor=4").build((3, 16, 16))
    from pellucid.noise import SeededNoise

    y = operator(x)
    y = y + 0.05 * SeededNoise([number("noise", 0, "b")]).normal(y, 0, "measurement")
    prior = load_prior(whole.prior.names[0], precision="float32")
    method = methods.get("ddnm").build(3, operator)
    result = reconstruct(Problem(y, operator, 0.05), prior, method, seeds=[number("method", 0, "b")])
    assert row["psnr"] == pytest.approx(float(psnr(result.image, x)), abs=1e-4)
    assert row["residual_sigma"] == pytest.approx(row["residual"] / 0.05)


def test_two_at_once_in_one_folder_are_refused(plan: Plans, tmp_path: Path) -> None:
    with Store(tmp_path).locked(), pytest.raises(ConfigError, match="another pellucid"):
        bench(plan(), tmp_path)


def test_a_damaged_result_file_is_named(plan: Plans, tmp_path: Path) -> None:
    bench(plan(), tmp_path)
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ConfigError, match=r"cannot read .*rows\.parquet"):
        bench(plan(), tmp_path)


@pytest.mark.slow
def test_killed_and_continued_by_two_workers_it_is_as_if_nothing_had_happened(raw: Planner, tmp_path: Path) -> None:
    methods = [{"name": "ddnm", "nfe": n} for n in (30, 31, 32, 33)]
    path = write_plan(raw(method=methods, batch=1, seeds=[0, 1, 2]), tmp_path / "plan.toml")
    plan = Plan.load(path)
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "pellucid", "bench", str(path), "-o", str(out)]
    running = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    deadline = time.time() + 60
    while len(list(out.glob("parts/rows-*"))) < 3 and time.time() < deadline:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    found = by_key(out)
    assert 3 <= len(found) < 36
    bench(plan, out, workers=2)
    bench(plan, tmp_path / "one")
    assert len(numbers(out)) == 36 and numbers(out) == numbers(tmp_path / "one")
    assert all(by_key(out)[key]["finished"] == row["finished"] for key, row in found.items())
