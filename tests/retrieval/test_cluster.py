"""The same rows, made on a Ray cluster."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from pellucid.errors import ConfigError
from pellucid.retrieval import Index
from pellucid.retrieval.check import check
from tests.retrieval.conftest import fill

HERE = importlib.util.find_spec("ray") is not None


@pytest.mark.slow
@pytest.mark.skipif(not HERE, reason="ray is not installed")
@pytest.mark.filterwarnings("ignore")
def test_two_workers_make_the_rows_that_one_process_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_worker_niceness", "0")  # on a busy machine its 15 makes minutes of seconds
    photos = fill(tmp_path / "photos", 10)
    (photos / "torn.png").write_bytes(b"\x89PNG")
    alone, spread = (Index.create(tmp_path / name, "pixel") for name in ("alone", "spread"))
    alone.add(photos)
    done = spread.add(photos, batch=3, workers=2, ray=True)
    assert done.added == 10 and [one.name for one in done.corrupt] == ["torn.png"]
    assert spread.add(photos, batch=4, workers=2, ray=True).already == 10
    columns = ["sha256", "name", "picture", "vector"]
    a, b = (i.table.search().select(columns).to_arrow().sort_by("name").to_pydict() for i in (alone, spread))
    assert a["sha256"] == b["sha256"] and a["name"] == b["name"] and a["picture"] == b["picture"]
    assert np.allclose(a["vector"], b["vector"], atol=1e-6) and check(spread).fine


@pytest.mark.skipif(HERE, reason="ray is installed")
def test_without_ray_the_remedy_is_named(tmp_path: Path) -> None:
    index = Index.create(tmp_path / "i", "pixel")
    with pytest.raises(ConfigError, match=r"pip install 'pellucid\[cluster\]'"):
        index.add(fill(tmp_path / "photos", 2), ray=True)
