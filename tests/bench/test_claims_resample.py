"""The claims of ReSample on made-up results: the verdicts can go either way; and what its plans and tables need."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pellucid.bench.claims import page, remarks, resample, slices
from pellucid.bench.claims.collect import collect
from pellucid.bench.claims.plots import Strip, strip
from pellucid.bench.claims.results import Results, save_table
from pellucid.bench.claims.verdict import verdict
from pellucid.bench.plan import Plan
from pellucid.bench.report.results import load
from pellucid.bench.run import bench
from pellucid.errors import ConfigError
from pellucid.images import read
from tests.bench.conftest import Planner

COLUMNS = ("plan", "task", "label", "image", "psnr", "ssim", "effnet_distance", "detail", "spread", "residual")
Effect = Callable[[str, str, str], dict[str, float]]


def groups() -> list[tuple[str, str, str, int]]:
    """(plan, task, label, pictures) of everything that the claims ask for."""
    found = [
        (resample.PHOTOS, task, label, 6)
        for task in (*resample.TASKS, *remarks.NOISY)
        for label in ("resample", *resample.OTHERS)
    ]
    found += [(resample.PARTS, task, label, 6) for task in resample.LEVELS for label in ("resample", "encoding")]
    found += [(resample.INTERVAL, "ct", f"every {every}", 6) for every in resample.INTERVALS]
    labels = ("resample", *resample.CT_OTHERS)
    found += [(p, "ct", label, n) for p, n in ((resample.PHANTOMS, 6), (resample.PATIENTS, 3)) for label in labels]
    return found + [(resample.LARGE, "random", label, 3) for label in ("resample", "admm-tv")]


def made_up(folder: Path, effect: Effect) -> Results:
    """Result files in which `effect(plan, task, label)` says how far a method is from one level."""
    noise = np.random.default_rng(0)
    rows = []
    for plan, task, label, count in groups():
        level = {"psnr": 25.0, "ssim": 0.8, "effnet_distance": 0.3, "detail": 1.0, "spread": 0.1, "residual": 0.01}
        level |= effect(plan, task, label)
        for number in range(count):
            row = {c: v * (1 + 1e-4 * float(noise.normal())) for c, v in level.items()}
            rows.append({"plan": plan, "task": task, "label": label, "image": f"p{number}", **row})
    save_table(folder / "rows.csv", rows, COLUMNS)
    return Results(folder)


def ahead(by: float) -> Effect:
    """ReSample is better than everything by so many dB, and smoother and so on in proportion; worse if negative."""

    def effect(plan: str, task: str, label: str) -> dict[str, float]:
        if label == "resample":
            most = by * (2 if task == "nonlinear" else 1) * (2 if plan == resample.LARGE else 1)
            worse = {"effnet_distance": 0.3 - 0.05 * most, "detail": 1 - 0.1 * by, "spread": 0.1 - 0.01 * by}
            return {"psnr": 25 + most, "ssim": 0.8 + 0.05 * by, **worse}
        if label.startswith("every"):
            return {"psnr": 25 - by * resample.INTERVALS.index(int(label.split()[1])) * -1}
        return {}

    return effect


@pytest.mark.parametrize("name", sorted(resample.TESTS))
def test_made_up_results_reproduce_or_refute_a_claim(name: str, tmp_path: Path) -> None:
    (tmp_path / "worse").mkdir()
    good, bad = made_up(tmp_path, ahead(1.0)), made_up(tmp_path / "worse", ahead(-1.0))
    parts = list(resample.TESTS[name](good))
    assert verdict(parts) == "reproduced", [part for part in parts if part.holds is not True]
    parts = list(resample.TESTS[name](bad))
    assert verdict(parts) == "not reproduced", [part for part in parts if part.holds is not False]


def test_every_linear_method_is_compared_on_every_linear_task(tmp_path: Path) -> None:
    parts = [part.what for part in resample.r1(made_up(tmp_path, ahead(1.0)))]
    assert len(parts) == len(set(parts)) == 2 * (4 * 7 + 2)


def test_three_slices_hold_together_or_decide_nothing() -> None:
    assert [resample.one_by_one("", np.array(d)).holds for d in ([1.0, 2.0, 0.1], [1.0, -2.0, 0.1], [-1.0, -2.0])] == [
        True,
        None,
        False,
    ]
    assert resample.one_by_one("", np.array([1.0, -2.0])).figure == "+1.00, -2.00 dB"


def test_remarks_say_what_was_run_and_no_more(tmp_path: Path) -> None:
    results = made_up(tmp_path, ahead(1.0))
    said = remarks.of("R1", results)
    assert "At noise 0.05" in said and "autoencoder" not in said and "look-ahead" not in said
    assert "+1.00 dB" in said
    rows = [{"image": "p0", "size": 128, "codec": "photo-vq", "psnr": 26.0, "effnet_distance": 0.1}]
    save_table(tmp_path / "ceiling.csv", rows, ("image", "size", "codec", "psnr", "effnet_distance"))
    assert "at 26.0 dB" in remarks.of("R1", Results(tmp_path))
    assert remarks.of("R2", results) == ""


def test_the_page_has_the_claims_of_two_papers(tmp_path: Path) -> None:
    (tmp_path / "resample").mkdir()
    results = made_up(tmp_path / "resample", ahead(1.0))
    plans = {plan: None for plan, *_ in groups()}
    record = {"source": "s", "title": "t", "pictures": 6, "size": None, "crop": "none", "weights": {"ct": "ab" * 32}}
    record |= {"precision": "bfloat16", "seconds": 3}
    (results.folder / "provenance.json").write_text(json.dumps(dict.fromkeys(plans, record)))
    text = page.text(tmp_path)
    assert "| **reproduced** | 60 of 60 parts hold, 0 refuted |" in text
    assert "| S1 |" in text and page.UNRUN in text
    assert (
        "| task | method | PSNR / dB | SSIM | feature distance | residual |" in text
    )  # no column that was not measured


def test_slices_are_written_as_a_plan_reads_them(tmp_path: Path) -> None:
    source = tmp_path / "source.npz"
    np.savez(source, a=np.array([[-1024, 0], [500, 3000]], np.int16))
    slices.study(source, tmp_path / "out", count=2, size=32)
    assert read(tmp_path / "out" / slices.PATIENTS / "a.npz").pixels.tolist() == [[[0.0, 0.5], [0.75, 1.0]]]
    first, second = (read(p).pixels for p in sorted((tmp_path / "out" / slices.PHANTOMS).iterdir()))
    assert first.shape == (1, 32, 32) and float((first - second).abs().mean()) > 0.01
    np.savez(source, a=np.zeros((3, 4, 4), np.int16))
    with pytest.raises(ConfigError, match="a slice is"):
        slices.study(source, tmp_path / "out", count=0)
    with pytest.raises(ConfigError, match="cannot read"):
        slices.study(tmp_path / "absent.npz", tmp_path / "out", count=0)


@pytest.fixture
def two_priors(raw: Planner, prior: Path, tmp_path: Path) -> dict[str, object]:
    """A plan in which two methods have a prior each."""
    other = tmp_path / "other"
    other.mkdir()
    for file in prior.iterdir():
        (other / file.name).write_bytes(file.read_bytes().replace(b'"tiny"', b'"same"'))  # another card, other rows
    names = [str(prior), str(other)]
    made = raw(prior={"names": names, "precision": "float32", "device": "cpu"}, save=True, seeds=[0, 1])
    made["method"] = [
        {"name": "unconditional", "label": "one", "nfe": 2, "priors": names[:1]},
        {"name": "unconditional", "label": "two", "nfe": 3, "priors": names[1:]},
    ]
    return made


def test_methods_run_with_their_own_priors_and_stand_in_one_table(
    two_priors: dict[str, object], tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "p"
    summary = bench(Plan.of(two_priors), run, source="p.toml")
    assert summary.rows == summary.done == 2 * 3 * 2 and summary.failed == 0
    (group,) = load([run]).groups
    assert group.labels == ["one", "two"]
    assert {row["prior"] for row in group.of("one")} & {row["prior"] for row in group.of("two")} == set()
    two_priors["method"][0]["priors"] = ["photo"]  # type: ignore[index]
    with pytest.raises(ConfigError, match="has no 'photo'"):
        Plan.of(two_priors)
    two_priors["method"][0]["priors"] = []  # type: ignore[index]
    assert bench(Plan.of(two_priors), run, source="p.toml").rows == 3 * 3 * 2
    assert len(load([run]).groups) == 2  # a method with both priors has a table for each


def test_collected_rows_are_means_over_seeds_and_know_their_spread(
    two_priors: dict[str, object], tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "p"
    bench(Plan.of(two_priors), run, source="p.toml")
    collect(tmp_path / "runs", tmp_path / "out", ["p"])
    rows = Results(tmp_path / "out").table("rows")
    assert len(rows) == 2 * 3 and {row["seeds"] for row in rows} == {"2"}
    results = load([run])
    group = results.groups[0]
    for row in rows:
        mine = [r for r in group.of(row["label"]) if r["image"] == row["image"]]
        assert float(row["psnr"]) == pytest.approx(np.mean([r["psnr"] for r in mine]), rel=1e-4)
        one, two = (read(run / "pictures" / f"{r['key']}.png").pixels for r in mine)
        assert float(row["spread"]) == pytest.approx(float(((one - two) ** 2 / 2).mean().sqrt()), rel=1e-4) != 0
    strip(run, tmp_path / "out", Strip("s.jpg", {"truth": "t", "one": "1", "absent": "-"}, "sr", 2, "title"))
    assert (tmp_path / "out" / "s.jpg").stat().st_size > 1000
    strip(run, tmp_path / "out", Strip("none.jpg", {"truth": "t"}, "another task", 2, "title"))
    assert not (tmp_path / "out" / "none.jpg").exists()
