"""The report's numbers are those of the rows; the page needs nothing but itself."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid.bench.plan import Plan
from pellucid.bench.report import tables as tables_module
from pellucid.bench.report.export import as_csv, as_latex
from pellucid.bench.report.grids import box
from pellucid.bench.report.make import report
from pellucid.bench.report.results import load
from pellucid.bench.report.tables import tables
from pellucid.bench.run import bench
from pellucid.bench.store import Store
from pellucid.errors import ConfigError
from pellucid.metrics.statistics import paired

pytest.importorskip("matplotlib")
Plans = Callable[..., Plan]


@pytest.fixture(scope="module")
def folder(photos: Path, prior: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two tasks, three methods, two seeds; one method is published."""
    out = tmp_path_factory.mktemp("results")
    content: dict[str, Any] = {
        "title": "A <title>",
        "metrics": ["psnr", "ssim"],
        "batch": 5,
        "seeds": [0, 1],
        "save": True,
        "trajectory": ["psnr", "residual"],
        "reference": "A+y",
        "data": {"path": str(photos), "size": 16},
        "prior": {"names": [str(prior)], "precision": "float32", "device": "cpu"},
        "task": [
            {"name": "sr", "operator": "bicubic:factor=4"},
            {"name": "blur", "operator": "gaussian-blur:std=1", "mismatch": "gaussian-blur:std=0.8", "noise": 0.02},
        ],
        "method": [{"name": "ddnm", "label": "DDNM", "nfe": [2, 3, 4]}, {"name": "pinv", "label": "A+y"}],
        "published": {"source": "a paper", "sr": {"A+y": {"psnr": 28.02}}},
    }
    bench(Plan.of(content), out)
    return out


def test_means_spreads_and_paired_intervals_are_those_of_the_rows(folder: Path) -> None:
    found = tables(load([folder]))
    table = next(t for t in found if t.group.task == "sr")
    line = next(line for line in table.lines if line.label == "DDNM-3")
    rows = [row for row in Store(folder).read() if row["task"] == "sr"]

    def by_image(label: str) -> list[float]:
        values = {i: [r["psnr"] for r in rows if r["label"] == label and r["image"] == i] for i in "abcde"}
        assert all(len(v) == 2 for v in values.values())
        return [float(np.mean(v)) for v in values.values()]

    own, other = by_image("DDNM-3"), by_image("A+y")
    cell = line.cells["psnr"]
    assert cell.summary is not None and cell.difference is not None
    assert cell.summary.n == 5 and line.seeds == 2 and table.reference == "A+y"
    assert cell.summary.mean == pytest.approx(np.mean(own)) and cell.summary.std == pytest.approx(np.std(own, ddof=1))
    assert cell.difference == paired(own, other)
    assert cell.better == ((cell.difference.low > 0) if cell.difference.low > 0 or cell.difference.high < 0 else None)
    assert sum(line.cells["psnr"].best for line in table.lines) == 1
    assert [line.label for line in table.lines] == ["DDNM-2", "DDNM-3", "DDNM-4", "A+y"]


@pytest.mark.slow
def test_the_page_is_whole_and_alone(folder: Path, tmp_path: Path) -> None:
    path = report([folder], tmp_path / "report", pictures=1)
    text = path.read_text()
    tags: list[str] = []
    sources: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)
            sources.extend(value or "" for name, value in attrs if name in ("src", "href"))

    Reader().feed(text)
    assert "script" not in tags and "link" not in tags and "A &lt;title&gt;" in text
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in sources)
    drawn = sorted(p.name for p in (tmp_path / "report").glob("*.png"))
    assert tags.count("img") == len(drawn)
    for kind in ("calls", "trajectory", "cost", "grid"):
        assert sum(name.startswith(kind) for name in drawn) == 2, (kind, drawn)
    assert "paper 28.02" in text and "paper: a paper" in text
    assert "range [0, 1], clipped, no border cut off, RGB" in text and "16 px, crop centre" in text
    assert "told gaussian-blur:std=0.8" in text and "prior invents detail" in text
    with Image.open(tmp_path / "report" / next(n for n in drawn if n.startswith("grid"))) as image:
        colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
        assert image.width > 800 and len(np.unique(colours, axis=0)) > 200


def test_tables_for_spreadsheets_and_papers(folder: Path) -> None:
    found = tables(load([folder]))
    rows = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert len(rows) == 2 * 4 * (3 + 4)
    row = next(r for r in rows if (r["task"], r["method"], r["metric"]) == ("sr", "A+y", "psnr"))
    cell = next(line for line in found[0].lines if line.label == "A+y").cells["psnr"]
    assert cell.summary is not None
    assert float(row["mean"]) == pytest.approx(cell.summary.mean) and float(row["published"]) == 28.02
    latex = as_latex(found)
    assert latex.count(r"\toprule") == 2 and rf"{cell.summary.mean:.2f}" in latex and "A{+}y &" in latex
    for line in re.findall(r"^[\w{+}-]+ &.*$", latex, flags=re.MULTILINE):
        assert line.count("&") == 5 and line.endswith(r"\\"), line  # psnr, ssim, residual, NFE, s


def test_a_reference_that_is_not_there_and_folders_that_hold_nothing(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no method has the label 'X'; there are DDNM-2"):
        report([folder], tmp_path, reference="X")
    with pytest.raises(ConfigError, match="no folder of results"):
        report([tmp_path / "none"], tmp_path)


def test_distances_of_sets_from_pictures_equal_those_from_features(
    plan: Plans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set metric of two numbers a picture stands in for the networks."""
    from pellucid.bench import scores
    from pellucid.metrics import METRICS, Metric
    from pellucid.metrics.frechet import Frechet

    class Means(Frechet):
        dimension = 2

        def features(self, pictures: torch.Tensor) -> torch.Tensor:
            return torch.stack([pictures.mean((1, 2, 3)), pictures[:, 0].std((1, 2))], 1)

    metric = Metric("means", "", "lower", "", "", per_image=False, gather=Means)
    monkeypatch.setitem(METRICS, "means", metric)
    scores.gathering.cache_clear()
    kept: dict[str, Any] = {"features": {"features": True}, "pictures": {"save": True}}
    values = {}
    for name, how in kept.items():
        data = {**plan().resolved()["data"], "count": 5}
        bench(plan(metrics=["psnr", "means"], data={**data, "path": str(data["path"])}, **how), tmp_path / name)
        (table,) = tables(load([tmp_path / name]))
        values[name] = [line.cells["means"].value for line in table.lines]
    assert all(v is not None and v > 0 for v in values["features"])
    assert values["features"] == pytest.approx(values["pictures"], abs=2e-3)  # pictures are rounded to 8 bits
    scores.gathering.cache_clear()


def test_features_that_were_kept_stand_for_their_pictures() -> None:
    """What was computed before goes into a set as if its pictures were shown again; sets of one network are apart."""
    from pellucid.metrics.frechet import Frechet

    class Means(Frechet):
        dimension = 2

        def features(self, pictures: torch.Tensor) -> torch.Tensor:
            return torch.stack([pictures.mean((1, 2, 3)), pictures[:, 0].std((1, 2))], 1)

    x, truth = torch.rand(2, 6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    shared = Means()
    shared.update(x[:2], truth[:3])
    shown, kept = shared.emptied(), shared.emptied()
    shown.update(x, truth)
    kept.add_features(kept.features(x), true=False)
    kept.add_features(kept.features(truth), true=True)
    assert kept.compute() == pytest.approx(shown.compute()) and kept.count(true=False) == 6
    assert (shared.count(true=False), shared.count(true=True)) == (2, 3)


def test_the_zoomed_box_is_where_the_detail_is() -> None:
    picture = torch.full((3, 64, 64), 0.5)
    picture[:, 40:52, 8:20] = (torch.arange(12) % 2).float()
    top, left, side = box(picture)
    assert side == 16 and 32 <= top <= 44 and 0 <= left <= 12


def test_numbers_are_shown_with_digits_that_tell_them_apart() -> None:
    cells = [tables_module.Cell(value=v) for v in (0.2083, 0.202)]
    assert tables_module.decimals(cells, "") == 3 and tables_module.decimals(cells, "dB") == 2
    assert tables_module.shown(3.2e-8, tables_module.decimals([tables_module.Cell(value=3.2e-8)], "")) == "3e-08"
