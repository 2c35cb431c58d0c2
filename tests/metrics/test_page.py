"""docs/metrics.md is in step with the registry, and its example runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pellucid.metrics import METRICS
from pellucid.metrics.page import table

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


def test_the_table_is_the_registrys() -> None:
    (found,) = re.findall(r"<!-- metrics: [^>]*-->\n(.*?)\n<!-- /metrics -->", PAGE, flags=re.DOTALL)
    assert found == table(), "put the output of `python -m pellucid.metrics.page` between the marks"
    assert len(found.splitlines()) == len(METRICS) + 2


def test_every_file_of_weights_has_its_source_on_the_page() -> None:
    names = {name for metric in METRICS.values() for name in metric.weights}
    assert len(names) == 5
    rest = PAGE.partition("## Weights")[2]
    for name in names:
        assert name in rest or ("EfficientNet-Lite0 comes with" in rest and name.startswith("efficientnet"))


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(compile(example, "docs/metrics.md", "exec"), {})
    assert "border of 4 px cut off, Y of BT.601" in capsys.readouterr().out


def test_every_metric_says_what_it_needs() -> None:
    for metric in METRICS.values():
        assert metric.summary and metric.statement and metric.better in ("higher", "lower")
        assert (metric.score is None) != metric.per_image == (metric.gather is None)
    assert [m.name for m in METRICS.values() if not m.per_image] == ["fid", "kid", "effnet_frechet"]
