"""The three commands, from a file to a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from pellucid.bench.store import Store
from pellucid.cli import run
from tests.bench.conftest import Planner, write_plan


def test_from_a_plan_to_a_page(raw: Planner, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = write_plan(raw(), tmp_path / "p.toml"), tmp_path / "out"
    assert run(["bench", str(path), "-o", str(out), "--dry-run"]) == 0
    assert "6 reconstructions; 9 network calls to make, in 4 batches" in capsys.readouterr().out
    assert run(["bench", str(path), "-o", str(out)]) == 0 and f"{out}: 6 rows" in capsys.readouterr().out
    pytest.importorskip("matplotlib")
    assert run(["report", str(out), "--reference", "A+y", "--pictures", "0"]) == 0
    assert capsys.readouterr().out.strip() == str(out / "report" / "report.html")
    assert (out / "report" / "tables.tex").read_text().startswith("% sr: bicubic:factor=4, noise 0")


def test_a_wrong_plan_is_one_line(raw: Planner, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_plan(raw(metrics=["psmr"]), tmp_path / "p.toml")
    assert run(["bench", str(path), "-o", str(tmp_path / "out"), "--workers", "2"]) == 7
    error = capsys.readouterr().err
    assert error == "pellucid: metric psmr: there is no metric named 'psmr'; did you mean 'psnr'?\n"
    assert not (tmp_path / "out").exists()


def test_tuned_settings_restore_a_picture(
    raw: Planner, photos: Path, prior: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = write_plan(raw(method=[{"name": "ddnm", "nfe": 2}]), tmp_path / "p.toml"), tmp_path / "study"
    pytest.importorskip("optuna")
    assert run(["tune", "ddnm", str(path), "-o", str(out), "--trials", "2"]) == 0
    assert len(Store(out).read()) == 6
    capsys.readouterr()
    options = ["--operator", "identity", "--noise", "0.1", "--prior", str(prior), "--dry-run", "--json"]
    assert run(["restore", str(photos / "a.png"), "--method-config", str(out / "best.toml"), *options]) == 0
    shown = capsys.readouterr().out
    assert '"method": "ddnm"' in shown and '"nfe": 2' in shown
