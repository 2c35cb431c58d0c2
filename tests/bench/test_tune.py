"""Tuning finds what is best, the same way whether or not it was interrupted, and the file is understood elsewhere."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pellucid.bench import execute, settings_file
from pellucid.bench.plan import Plan
from pellucid.bench.settings_file import MethodSettings
from pellucid.bench.spaces import GRIDS, SPACES, Range, space
from pellucid.bench.store import Store
from pellucid.bench.tune import Tuning, tune, write
from pellucid.errors import ConfigError, UnknownNameError
from pellucid.loop import reconstruct
from pellucid.methods import METHODS

pytest.importorskip("optuna")
Plans = Callable[..., Plan]
TASK = [{"name": "blur", "operator": "gaussian-blur:std=1", "noise": 0.1}]
PINV = [{"name": "pinv"}]


@pytest.mark.parametrize("table", [SPACES, GRIDS])
def test_every_range_is_of_an_option_and_builds(table: dict[str, dict[str, Range]]) -> None:
    assert table
    for method, ranges in table.items():
        assert set(ranges) <= set(METHODS[method].options), method
        ends = [r.choices or (r.low, r.high) for r in ranges.values()]
        for pick in (0, -1):
            METHODS[method].build(**dict(zip(ranges, (end[pick] for end in ends), strict=True)))


def test_a_grid_finds_the_best_of_its_points(plan: Plans, tmp_path: Path) -> None:
    whole = plan(task=TASK, method=PINV, space={"lam": [0.001, 0.05, 5.0]})
    best = tune(Tuning.make("admm-tv", whole, grid=True), tmp_path, trials=99)
    rows = Store(tmp_path).read()
    assert len(rows) == 9 and {row["method"] for row in rows} == {"admm-tv"}
    means = {}
    for row in rows:
        means.setdefault(row["options"], []).append(row["psnr"])
    top = max(means.items(), key=lambda item: sum(item[1]))
    assert best.tuned["value"] == pytest.approx(sum(top[1]) / 3) and f'"lam": {best.options["lam"]}' in top[0]
    assert best.options["lam"] == 0.05


def test_an_interrupted_search_goes_on_as_if_it_had_not_been(plan: Plans, tmp_path: Path) -> None:
    whole = plan(task=TASK, method=[{"name": "ddnm", "nfe": 2}])
    tuning = Tuning.make("ddnm", whole, seed=3)
    straight = tune(tuning, tmp_path / "a", trials=7)
    tune(tuning, tmp_path / "b", trials=2)
    assert tune(tuning, tmp_path / "b", trials=7).options == straight.options
    assert len(Store(tmp_path / "b").read()) == len(Store(tmp_path / "a").read()) == 7 * 3
    with pytest.raises(ConfigError, match="holds another study"):
        tune(Tuning.make("ddnm", whole, seed=4), tmp_path / "b", trials=7)


@pytest.mark.parametrize(
    "change",
    [
        {"task": [{"name": "blur", "operator": "gaussian-blur:std=1", "noise": 0.2}]},
        {"seeds": [1]},
        {"protocol": {"border": 2}},
        {"method": [{"name": "ddnm", "nfe": 3}]},
        {"method": [{"name": "ddnm", "nfe": 2, "options": {"travel_length": 2}}]},
    ],
)
def test_a_study_of_another_plan_is_not_continued(change: dict[str, Any], plan: Plans, tmp_path: Path) -> None:
    first: dict[str, Any] = {"task": TASK, "method": [{"name": "ddnm", "nfe": 2}], "space": {"eta": [0.0, 1.0]}}
    tune(Tuning.make("ddnm", plan(**first), grid=True), tmp_path, trials=1)
    with pytest.raises(ConfigError, match="holds another study"):
        tune(Tuning.make("ddnm", plan(**first | change), grid=True), tmp_path, trials=2)
    renamed = plan(**first | {"title": "other words", "notes": "and notes"})
    assert tune(Tuning.make("ddnm", renamed, grid=True), tmp_path, trials=2).tuned["trials"] == 2


def test_a_trial_that_failed_is_tried_again(plan: Plans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once what was in its way is gone, the study is as if nothing had failed."""
    whole = plan(task=TASK, method=[{"name": "ddnm", "nfe": 2}], space={"eta": [0.0, 0.5, 1.0]})
    tuning = Tuning.make("ddnm", whole, grid=True)
    calls = []

    def failing(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if 3 <= len(calls) <= 5:  # all of the second trial: a batch of two, and both alone
            raise MemoryError("no memory left")
        return reconstruct(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(execute, "reconstruct", failing)
        assert tune(tuning, tmp_path / "a", trials=2).tuned["trials"] == 1
    failed = [row for row in Store(tmp_path / "a").read() if row["status"] != "ok"]
    assert len(failed) == 2
    again, straight = tune(tuning, tmp_path / "a", trials=3), tune(tuning, tmp_path / "b", trials=3)
    assert again.tuned["trials"] == 3 and again.options == straight.options
    assert again.tuned["value"] == pytest.approx(straight.tuned["value"], abs=1e-6)
    assert all(row["status"] == "ok" for row in Store(tmp_path / "a").read())


def test_a_metric_where_less_is_better_is_made_small(plan: Plans, tmp_path: Path) -> None:
    whole = plan(task=TASK, method=PINV, space={"lam": [0.001, 0.05, 5.0]})
    best = tune(Tuning.make("admm-tv", whole, metric="residual_rms", grid=True), tmp_path, trials=3)
    assert best.options["lam"] == 0.001


def test_settings_go_into_plans_and_restorations(plan: Plans, tmp_path: Path) -> None:
    from pellucid.cli.settings import configured, method_options

    path = tmp_path / "best.toml"
    write(path, MethodSettings("ssd", 12, {"eta": 0.25, "project": False}, {"plan": 'a "quoted" \\ path'}))
    assert tomllib.loads(path.read_text())["tuned"]["plan"] == 'a "quoted" \\ path'
    assert settings_file.load(path).options == {"eta": 0.25, "project": False}
    (method,) = plan(method=[{"config": str(path), "options": {"eta": 0.5}}]).method
    assert (method.name, method.nfe, method.options) == ("ssd", (12,), {"eta": 0.5, "project": False})
    name, nfe, pairs = configured(path, "auto", None, ["eta=0.75"])
    assert (name, nfe, method_options(pairs)) == ("ssd", 12, {"eta": 0.75, "project": False})
    with pytest.raises(ConfigError, match="settings of ssd, not of dps"):
        configured(path, "dps", None, [])


def test_what_cannot_be_tuned_is_said(plan: Plans, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to tune is known for pinv"):
        Tuning.make("pinv", plan())
    with pytest.raises(ConfigError, match="ddnm has no option 'zeta'"):
        Tuning.make("ddnm", plan(space={"zeta": [1.0]}))
    with pytest.raises(ConfigError, match="a grid needs choices"):
        space("ddnm", {"eta": {"low": 0, "high": 1}}, grid=True)
    with pytest.raises(ConfigError, match="low < high"):
        space("ddnm", {"eta": {"low": 1, "high": 0}}, grid=False)
    with pytest.raises(ConfigError, match="whole set"):
        Tuning.make("ddnm", plan(), metric="fid")
    with pytest.raises(UnknownNameError, match="ddnm"):
        Tuning.make("ddnn", plan())
    (tmp_path / "x.toml").write_text('method = "ssd"\nsecret = 1\n')
    with pytest.raises(ConfigError, match="unknown key 'secret'"):
        settings_file.load(tmp_path / "x.toml")
