"""The plans of the papers: understood as they are, and runnable on stand-ins for data and checkpoint."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from pellucid.bench import scores
from pellucid.bench.plan import Plan
from pellucid.bench.report.results import load
from pellucid.bench.report.tables import tables
from pellucid.bench.resolve import resolve
from pellucid.bench.run import bench

PAPERS = sorted((Path(__file__).parents[2] / "papers").glob("*.toml"))


def standing_in(path: Path, photos: Path, prior: Path) -> dict[str, Any]:
    """The plan with small pictures, a small network and metrics that need no files."""
    raw = tomllib.loads(path.read_text())
    small = {"mask:box=128": "mask:box=8"}
    for task in raw["task"]:
        task["operator"] = small.get(task["operator"], task["operator"])
    raw["data"] |= {"path": str(photos), "size": 16, "count": 2}
    raw["prior"] = {"names": [str(prior)], "precision": "float32", "device": "cpu"}
    return raw | {"metrics": ["psnr"], "features": False, "save": False, "batch": 2}


def test_there_are_plans() -> None:
    assert {"ssd.toml", "ssd-full.toml", "ssd-full-imagenet.toml"} <= {path.name for path in PAPERS}


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.stem)
def test_a_plan_holds_together(path: Path, photos: Path, prior: Path) -> None:
    plan = Plan.load(path)
    for name in plan.metrics:
        scores.find(name)
    for rows in plan.published.values():
        for numbers in rows.values() if isinstance(rows, dict) else ():
            assert {scores.find(name).name for name in numbers} <= {scores.find(name).name for name in plan.metrics}
    experiment = resolve(Plan.of(standing_in(path, photos, prior)))
    assert experiment.jobs


def test_the_published_experiment_runs_and_the_report_has_the_paper_beside_it(
    photos: Path, prior: Path, tmp_path: Path
) -> None:
    raw = standing_in(next(p for p in PAPERS if p.stem == "ssd-full"), photos, prior)
    raw["task"] = [task for task in raw["task"] if task["name"] in ("sr4", "sr8 noise")]
    keep = {"pinv", "ssd", "ssd+"}
    raw["method"] = [m | ({"nfe": 6} if "nfe" in m else {}) for m in raw["method"] if m["name"] in keep]
    raw["method"] = [m for m in raw["method"] if m["label"] != "SSD-30"]
    for method in raw["method"]:
        method["tasks"] = [t for t in method.get("tasks", ["sr4", "sr8 noise"]) if t in ("sr4", "sr8 noise")]
    labels = {m["label"] for m in raw["method"]}
    published = {task: raw["published"][task] for task in ("sr4", "sr8 noise")}
    raw["published"] = {
        task: {label: {"psnr": row["psnr"]} for label, row in rows.items() if label in labels}
        for task, rows in published.items()
    }
    raw["reference"] = "SSD-100"
    assert bench(Plan.of(raw), tmp_path).failed == 0
    found = {t.group.task: {line.label: line.cells["psnr"] for line in t.lines} for t in tables(load([tmp_path]))}
    assert found["sr4"]["SSD-100"].published == 28.84 and found["sr4"]["A+y"].published == 28.02
    assert found["sr8 noise"]["SSD+"].published == 24.6 and found["sr8 noise"]["SSD+"].mean is not None
