"""What is wrong with a plan is said, all of it, before anything is done."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pellucid.bench.jobs import runs
from pellucid.bench.plan import Noise, Plan
from pellucid.bench.resolve import resolve
from pellucid.errors import ConfigError
from tests.bench.conftest import Planner

Plans = Callable[..., Plan]

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"sizes": 3}, "unknown key 'sizes'; known are data"),
    "misplaced key": ({"data": {"path": ".", "seeds": [0]}}, "'seeds'; it belongs before the first"),
    "no task": ({"task": []}, r"needs a \[\[task\]\]"),
    "no method": ({"method": []}, r"needs a \[\[method\]\]"),
    "no operator": ({"task": [{"name": "a"}]}, "'operator' is missing"),
    "negative noise": ({"task": [{"name": "a", "operator": "grey", "noise": -0.1}]}, "noise is a number from 0"),
    "noise twice": ({"task": [{"name": "a", "operator": "grey", "noise": [0.1, 0.1]}]}, "twice"),
    "noise range": ({"task": [{"name": "a", "operator": "grey", "noise": {"uniform": [1, 0]}}]}, "low, high"),
    "jpeg": ({"task": [{"name": "a", "operator": "grey", "jpeg": 0}]}, "quality from 1 to 100"),
    "nfe": ({"method": [{"name": "ddnm", "nfe": [3, 3]}]}, "nfe are different numbers"),
    "option": ({"method": [{"name": "ddnm", "options": {"eta": [1]}}]}, "an option is a number"),
    "task of method": ({"method": [{"name": "ddnm", "tasks": ["x"]}]}, "no task named 'x'"),
    "slash in a name": ({"task": [{"name": "../a", "operator": "grey"}]}, "needs a name of letters"),
    "seeds": ({"seeds": [0, 0]}, "one is given twice"),
    "batch": ({"batch": 0}, "batch is a whole number from 1"),
    "save": ({"save": 1}, "true or false"),
    "trajectory": ({"trajectory": ["fid"]}, "trajectory holds some of"),
    "crop": ({"data": {"path": ".", "crop": "left"}}, "crop is one of"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_plan_is_refused_by_name(raw: Planner, case: str) -> None:
    changes, message = WRONG[case]
    with pytest.raises(ConfigError, match=message):
        Plan.of(raw(**changes))


UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "folder": ({"data": {"path": "nowhere"}}, "there is no folder nowhere"),
    "count": ({"data": {"path": "PHOTOS", "count": 9}}, "count is 9, but .* holds 5"),
    "size": ({"data": {"path": "PHOTOS", "size": 64}}, "20 x 24, smaller than the size 64"),
    "prior": ({"prior": {"names": ["nobody"]}}, "no prior named 'nobody'"),
    "metric": ({"metrics": ["psmr"]}, "did you mean 'psnr'"),
    "metric of sets": ({"metrics": ["fid"]}, "needs save = true"),
    "method": ({"method": [{"name": "dddnm"}]}, "did you mean 'ddnm'"),
    "option": ({"method": [{"name": "ddnm", "options": {"zeta": 1}}]}, "no option 'zeta'"),
    "kind of option": ({"method": [{"name": "ddnm", "options": {"eta": "much"}}]}, "eta is a number"),
    "operator": ({"task": [{"name": "a", "operator": "bicubic:factor=3,scale=1"}]}, "no parameter 'scale'"),
    "operator and size": ({"task": [{"name": "a", "operator": "mask:box=64"}]}, "not inside a picture of 16 x 16"),
    "method and operator": (
        {"task": [{"name": "a", "operator": "jpeg:quality=9"}]},
        "ddnm-3 on a: ddnm needs a linear operator",
    ),
    "mismatch": (
        {"task": [{"name": "a", "operator": "bicubic:factor=4", "mismatch": "bicubic:factor=2"}]},
        "mismatch bicubic:factor=2 measures",
    ),
    "jpeg": (
        {"task": [{"name": "a", "operator": "walsh-hadamard", "jpeg": 50}]},
        "jpeg takes measurements that are pic",
    ),
    "same method": ({"method": [{"name": "ddnm", "nfe": 3}, {"name": "ddnm", "nfe": 3, "label": "x"}]}, "same exp"),
    "same label": ({"method": [{"name": "ddnm", "label": "x"}, {"name": "pinv", "label": "x"}]}, "label x"),
    "reference": ({"reference": "SSD"}, "no method has the label 'SSD'"),
    "published task": ({"published": {"x": {"A+y": {"psnr": 1.0}}}}, "no task named 'x'"),
    "published label": ({"published": {"sr": {"B": {"psnr": 1.0}}}}, "no method has the label 'B'"),
    "published metric": ({"published": {"sr": {"A+y": {"psnr": "good"}}}}, "psnr is a number"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_parts_that_are_missing_or_do_not_fit_are_named(raw: Planner, photos: Path, case: str) -> None:
    changes, message = UNFIT[case]
    content = raw(**changes)
    content["data"]["path"] = content["data"]["path"].replace("PHOTOS", str(photos))
    with pytest.raises(ConfigError, match=message):
        resolve(Plan.of(content))


def test_all_errors_are_said_at_once(plan: Plans) -> None:
    wrong = plan(metrics=["psmr"], prior={"names": ["nobody"]}, method=[{"name": "dddnm"}])
    with pytest.raises(ConfigError, match=r"3 errors: \(1\).*nobody.*\(2\).*psmr.*\(3\).*dddnm"):
        resolve(wrong)


def test_several_calls_and_noise_levels_multiply(plan: Plans) -> None:
    task = [{"name": "sr", "operator": "bicubic:factor=4", "noise": [0.0, {"uniform": [0.0, 0.1]}]}]
    methods = [{"name": "ddnm", "nfe": [2, 3]}, {"name": "pinv", "label": "A+y"}]
    whole = plan(task=task, method=methods, seeds=[0, 1])
    experiment = resolve(whole)
    assert whole.task[0].levels == (Noise(0, 0), Noise(0, 0.1))
    assert sum(len(job.images) for job in experiment.jobs) == 3 * 2 * 3 * 2
    assert [(r.label, r.family, r.nfe) for r in runs(whole, "sr")] == [
        ("ddnm-2", "ddnm", 2),
        ("ddnm-3", "ddnm", 3),
        ("A+y", "A+y", None),
    ]


def test_a_label_that_ends_with_its_calls_belongs_to_a_family(plan: Plans) -> None:
    methods = [{"name": "ddnm", "nfe": n, "label": f"DDNM-{n}"} for n in (2, 3)]
    assert [run.family for run in runs(plan(method=methods), "sr")] == ["DDNM", "DDNM"]


def test_options_may_differ_from_task_to_task(plan: Plans) -> None:
    methods = [{"name": "ddnm", "nfe": 3, "options": {"eta": 0.1}, "by_task": {"sr": {"eta": 0.2}}}]
    tasks = [{"name": "sr", "operator": "bicubic:factor=4"}, {"name": "grey", "operator": "grey"}]
    both = plan(method=methods, task=tasks)
    assert [dict(next(runs(both, task)).given) for task in ("sr", "grey")] == [{"eta": 0.2}, {"eta": 0.1}]


def test_a_damaged_or_huge_file_is_no_plan(tmp_path: Path) -> None:
    for content in (b"\xff\xfe", b"[data", b"#" * 2**21):
        (tmp_path / "p.toml").write_bytes(content)
        with pytest.raises(ConfigError, match=r"p\.toml"):
            Plan.load(tmp_path / "p.toml")


def test_the_plan_of_the_documentation_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "benchmark.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)
    config = tmp_path / "best.toml"
    config.write_text('method = "dps"\nnfe = 10\n[options]\nscale = 0.5\n')
    (tmp_path / "p.toml").write_text(example.replace("runs/dps/best.toml", str(config)))
    plan = Plan.load(tmp_path / "p.toml")
    assert plan.seeds == [0, 1] and plan.method[2].options == {"scale": 0.5} and plan.task[1].jpeg == 60
