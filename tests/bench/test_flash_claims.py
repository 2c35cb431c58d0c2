"""The claims of Flash-Diffusion on made-up results: the verdicts can go either way; fixed starts; tables of grids."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pellucid.bench.claims import flash, flash_page, tuning
from pellucid.bench.claims.plots import Strip, draw, strip
from pellucid.bench.claims.results import MissingResults, Results, save_table
from pellucid.bench.claims.severity_claim import SIZE, f1
from pellucid.bench.claims.severity_study import BLUR, REPEATS
from pellucid.bench.claims.verdict import verdict
from pellucid.bench.hashes import of_networks
from pellucid.bench.plan import Plan
from pellucid.bench.run import bench
from pellucid.bench.tune import Tuning, tune
from pellucid.errors import CompatibilityError
from pellucid.loop import reconstruct
from pellucid.methods import get
from pellucid.operators.diagonal import Identity
from pellucid.prior.base import Prior
from pellucid.prior.gaussian import GaussianPrior
from pellucid.problem import Observation, Problem
from tests.bench.conftest import Planner

COLUMNS = ("plan", "task", "label", "image", "nfe", "psnr", "ssim", "effnet_distance", "residual", "seconds")
COUNT = 12
BEST = (5, 20, 20, 20, 80)  # of the pictures in turn, where they differ
Effect = Callable[[str, str, str, int], dict[str, float]]


def groups() -> list[tuple[str, str, str]]:
    """(plan, task, label) of everything that the claims and the page ask for."""
    starts = ["flash", "ae", *(f"fixed {n}" for n in flash.FIXED), "share 0.5"]
    found = [(plan, "blur", label) for plan in (flash.STARTS, flash.AGAIN) for label in starts]
    found += [(flash.MIXED, task, label) for task in flash.TABLES for label in ("flash", "fixed 20", "fixed 160")]
    table = ["flash", "flash resample", "ae", *flash.OTHERS, "other family", "several families"]
    found += [(plan, task, label) for task, plan in flash.TABLES.items() for label in (*table, "swinir")]
    wrong = ("flash", "other family", "several families")
    found += [(flash.ENCODERS["blur"], "blur", label) for label in wrong]
    options = ["flash", "inversion", *(f"c {c:g}" for c in (0, 0.5, 0.8, 1, 1.2, 1.5)), "eta 0.5", "eta 2"]
    found += [(flash.OPTIONS, "blur", label) for label in options]
    return found + [(flash.PIXEL, "blur", label) for inner in flash_page.PIXELS for label in (inner, f"flash {inner}")]


def made_up(folder: Path, effect: Effect) -> Results:
    """Result files in which `effect(plan, task, label, picture)` says how far a row is from one level."""
    noise = np.random.default_rng(0)
    rows, sets = [], []
    for plan, task, label in groups():
        distances = []
        for number in range(COUNT):
            level = {"nfe": 20.0, "psnr": 25.0, "ssim": 0.8, "effnet_distance": 0.3, "residual": 0.05, "seconds": 1.0}
            level |= effect(plan, task, label, number)
            row = {c: v if c == "nfe" else v * (1 + 1e-4 * float(noise.normal())) for c, v in level.items()}
            rows.append({"plan": plan, "task": task, "label": label, "image": f"p{number:02d}", **row})
            distances.append(row["effnet_distance"])
        spread = 100 * np.mean(distances) * (1 + 1e-4 * noise.normal(size=101))
        text = " ".join(f"{v:.6g}" for v in spread)
        sets.append({"plan": plan, "task": task, "label": label, "frechet": text})
    folder.mkdir(exist_ok=True)
    save_table(folder / "rows.csv", rows, COLUMNS)
    save_table(folder / "sets.csv", sets, ("plan", "task", "label", "frechet"))
    return Results(folder)


def as_claimed(plan: str, task: str, label: str, number: int) -> dict[str, float]:
    """What the paper says: pictures have their own best starts, which are predicted, and the rest of F2 to F6."""
    best = BEST[number % len(BEST)]
    if plan in (flash.STARTS, flash.AGAIN, flash.MIXED):
        if label == "flash":
            return {"nfe": best / 8 * (0.5, 2)[number % 2], "effnet_distance": 0.3}
        steps = int(label.split()[1]) if label.startswith("fixed") else 0
        off = abs(np.log2(steps / best)) if steps else 4
        return {"nfe": steps, "effnet_distance": 0.3 + 0.08 * off}
    if plan in (*flash.TABLES.values(), *flash.ENCODERS.values()):
        losses = {"other family": 0.02 if task == "blur" else 0.2, "several families": 0.01}
        if label in losses:
            return {"effnet_distance": 0.3 * (1 + losses[label]), "psnr": 25 - 5 * losses[label]}
        if label == "swinir":
            return {"psnr": 26, "effnet_distance": 0.35}
        return {"effnet_distance": 0.3 if label == "flash" else 0.35}
    return {"effnet_distance": 0.28} if label == "c 1.2" else {}


def contrary(plan: str, task: str, label: str, number: int) -> dict[str, float]:
    """All pictures alike, the fewest steps best, and Flash worse than everything."""
    if plan in (flash.STARTS, flash.AGAIN, flash.MIXED):
        steps = int(label.split()[1]) if label.startswith("fixed") else 60 - number
        return {"nfe": steps, "effnet_distance": 0.3 + 0.002 * steps + (0.002 * number if label == "flash" else 0)}
    if plan in (*flash.TABLES.values(), *flash.ENCODERS.values()):
        losses = {"other family": 0.2 if task == "blur" else 0.1, "several families": 0.3}
        if label in losses:
            return {"effnet_distance": 0.5 * (1 + losses[label]), "psnr": 25 - 5 * losses[label]}
        return {"effnet_distance": 0.5, "psnr": 25} if label == "flash" else {"psnr": 24}
    return {"effnet_distance": 0.32} if label == "c 1.2" else {}


@pytest.mark.parametrize("name", sorted(flash.TESTS))
def test_made_up_results_reproduce_or_refute_a_claim(name: str, tmp_path: Path) -> None:
    parts = list(flash.TESTS[name](made_up(tmp_path / "good", as_claimed)))
    assert verdict(parts) == "reproduced", [part for part in parts if part.holds is not True]
    parts = list(flash.TESTS[name](made_up(tmp_path / "bad", contrary)))
    undecided = {"F2": 1}.get(name, 0)  # pictures that are all alike have no order to agree with
    assert [part.holds for part in parts].count(True) == 0, [part for part in parts if part.holds]
    assert [part.holds for part in parts].count(None) <= undecided


def test_regret_is_measured_with_another_seed_than_the_best_start_is_chosen_with() -> None:
    rng = np.random.default_rng(0)
    runs = [1 + 0.1 * rng.standard_normal((6, 4000)) for _ in range(2)]  # no start is better than another
    assert abs(flash.regrets(runs, [run[0] for run in runs]).mean()) < 0.5
    assert 100 * (runs[0][0] - runs[0].min(0)).mean() > 10  # which luck alone would call a regret
    assert flash.diffused([run[:, :50] for run in runs], 0, []).sum() == 0


def test_steps_of_equal_quality_lie_on_the_curve() -> None:
    curve = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    assert flash.equal(curve, 0.9) == flash.FIXED[0] and flash.equal(curve, 0.4) == pytest.approx(flash.FIXED[-1])
    assert flash.equal(curve, 0.65) == pytest.approx((flash.FIXED[2] * flash.FIXED[3]) ** 0.5)
    assert flash.equal(curve, 0.3) == float("inf")


def test_the_page_has_tables_and_plots(tmp_path: Path) -> None:
    results = made_up(tmp_path / "flash", as_claimed)
    said = {name: flash_page.of(name, results) for name in flash.TESTS}
    assert re.search(r"\| predicted \| \d\.\d \| [+-]", said["F2"]) and "| fixed 40 | 40.0 |" in said["F4"]
    assert "| blur | swinir | -1.00 dB" in said["F3"] and "bold" not in said["F3"]
    assert "| nonlinear | other family | 20 | -1.00 dB" in said["F5"]
    assert "| c 1.2 | " in said["F6"] and said["F6"].index("| c 0.5") < said["F6"].index("| c 1.5")
    assert "In pixels" in said["F4"]
    batch = said["F4"][said["F4"].index("A mixed batch, 12 pictures") :]
    assert "| fixed 20 | 20.0 |" in batch and "| predicted | " in batch and "fixed 40" not in batch
    pytest.importorskip("matplotlib")
    draw(results, tmp_path, flash_page.PLOTS)
    assert {path.name for path in tmp_path.glob("*.png")} == {"f2.png", "f4.png"}
    assert flash_page.of("F2", Results(tmp_path / "absent")) == ""


class Known:
    """An encoder that tells y itself and variances of its own."""

    def __call__(self, observation: Observation, prior: Prior) -> tuple[Tensor, Tensor]:
        return observation.y, torch.tensor([0.0, 0.01, 3.0], dtype=torch.float64)


def test_a_fixed_start_is_the_same_time_for_every_picture_whatever_was_predicted() -> None:
    prior = GaussianPrior.natural(8, 3)
    problem = Problem(torch.rand(3, 3, 8, 8, dtype=torch.float64), Identity((3, 8, 8)))
    make = get("flash").build
    free = reconstruct(problem, prior, make(inner="none", encoder=Known()), seeds=[1, 2, 3])
    assert len(set(free.nfe.tolist())) == 3
    for share, steps in ((0.0, 0), (0.04, 40), (1.0, 1000)):
        found = reconstruct(problem, prior, make(inner="none", encoder=Known(), fixed=share), seeds=[1, 2, 3])
        assert found.nfe.tolist() == [steps] * 3
    with pytest.raises(CompatibilityError, match="fixed"):
        make(inner="none", encoder=Known(), fixed=1.5)


def test_rows_depend_on_the_weights_of_the_severity_encoder(tmp_path: Path) -> None:
    from tests.bench.test_papers import encoder

    one, two = (encoder(tmp_path / name) for name in ("one", "two"))
    found = {**of_networks("flash", {"encoder": str(one)}), **of_networks("flash", {"encoder": str(two)})}
    assert set(found) == {str(one), str(two)} and found[str(one)] != found[str(two)]


def test_grids_become_a_table(raw: Planner, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    task = [{"name": "blur", "operator": "gaussian-blur:std=1", "noise": 0.1}]
    plan = Plan.of(raw(task=task, method=[{"name": "pinv"}], space={"lam": [0.05, 5.0]}))
    tune(Tuning.make("admm-tv", plan, metric="psnr", grid=True), tmp_path / "runs" / "flash-tune-a")
    from pellucid.bench.store import Store

    rows = [{**row, tuning.METRIC: row["psnr"]} for row in Store(tmp_path / "runs" / "flash-tune-a").read()]
    lines = tuning.trials(rows)
    assert [line["settings"] for line in lines] == ["lam 0.05", "lam 5"] and {line["pictures"] for line in lines} == {3}
    wanted = np.mean([row["psnr"] for row in rows if '"lam": 5.0' in row["options"]])
    assert lines[1][tuning.METRIC] == pytest.approx(wanted)
    save_table(tmp_path / "tuning.csv", lines, tuning.COLUMNS)
    assert "**lam 5: " in flash_page.of("F3", Results(tmp_path)) or "**lam 0.05: " in flash_page.of(
        "F3", Results(tmp_path)
    )
    tuning.collect(tmp_path / "nothing", "flash", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_strip_shows_measurements_and_the_pictures_asked_for(raw: Planner, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = tmp_path / "run"
    made = raw(save=True, task=[{"name": "blur", "operator": "gaussian-blur:std=1"}], method=[{"name": "pinv"}])
    bench(Plan.of(made), run)
    sizes = []
    for number, images in enumerate(((), ("b",))):
        columns = {"truth": "true", "y": "measured", "pinv": "A+y"}
        strip(run, tmp_path, Strip(f"{number}.jpg", columns, "blur", 3, "title", images))
        sizes.append((tmp_path / f"{number}.jpg").stat().st_size)
    assert sizes[0] > 1.5 * sizes[1] > 1000


@pytest.mark.parametrize(("sign", "wanted"), [(1, "reproduced"), (-1, "not reproduced")])
def test_f1_reads_the_study_of_the_severity_encoder(sign: int, wanted: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    fine = np.exp(rng.uniform(-1, 1, COUNT))
    levels = np.exp(sign * np.linspace(-1, 1, 10))
    true = np.exp(rng.uniform(-1, 1, COUNT * REPEATS))
    blur = {"stds": list(range(1, 11)), "predicted": np.outer(fine**sign, levels).tolist(), "fine": fine.tolist()}
    sizes = {SIZE: {"predicted": (true**sign).tolist(), "true": true.tolist()}}
    runs = {"blur": {BLUR: blur}, "errors": {BLUR: {"sizes": sizes}}}
    with pytest.raises(MissingResults):
        list(f1(Results(tmp_path)))
    (tmp_path / "severity.json").write_text(json.dumps({"runs": {"blur": {BLUR: blur}}}))
    with pytest.raises(MissingResults):
        list(f1(Results(tmp_path)))
    (tmp_path / "severity.json").write_text(json.dumps({"runs": runs}))
    parts = list(f1(Results(tmp_path)))
    assert verdict(parts) == wanted, parts
    assert f"({COUNT if sign > 0 else 0} of {COUNT} always rise)" in parts[0].what
