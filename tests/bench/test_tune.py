"""Tuning finds what is best, the same way whether or not it was interrupted, and the file is understood elsewhere."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from pellucid.bench import settings_file
from pellucid.bench.plan import Plan
from pellucid.bench.settings_file import MethodSettings
from pellucid.bench.spaces import GRIDS, SPACES, Range, space
from pellucid.bench.store import Store
from pellucid.bench.tune import Tuning, tune, write
from pellucid.errors import ConfigError, UnknownNameError
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
