"""The tables of docs/retrieval.md are those of the result files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pellucid.bench.retrieval.page import PARTS, marks, table, written

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results" / "adir" / "retrieval"


def test_the_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "retrieval.md").read_text()
    assert all(page.count(mark) == 1 for part in PARTS for mark in marks(part))
    if not (RESULTS / "scale.json").exists():
        pytest.skip("no result files in this checkout")
    there = [part for part in PARTS if (RESULTS / f"{part}.json").exists()]
    assert all(written(page.replace(marks(part)[1], "x" + marks(part)[1]), RESULTS) == page for part in there)
    assert written(page, RESULTS) == page, "run `python -m pellucid.bench.retrieval page`"


def test_a_line_says_what_was_measured() -> None:
    if not (RESULTS / "scale.json").exists():
        pytest.skip("no result files in this checkout")
    studies = json.loads((RESULTS / "scale.json").read_text())
    lines = table(studies).splitlines()[2:]
    assert len(lines) == sum(len(study["indexes"]) for study in studies)
    for study in studies:
        for one in study["indexes"]:
            assert any(f"| {one['kind']} " in line and f"{one['held_out']['recall']:.3f}" in line for line in lines)
        assert study["rows"] == 1_700_000 and study["generator"]["seed"] == 0
