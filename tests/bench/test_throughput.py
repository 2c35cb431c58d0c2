"""The measurement of pictures a second: every way does the same work, and the figures follow from the runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pellucid.bench.throughput import page
from pellucid.bench.throughput.__main__ import save
from pellucid.bench.throughput.measuring import measure
from pellucid.bench.throughput.ways import Work
from pellucid.errors import ConfigError
from tests.toys import toy_prior


@pytest.fixture(params=["mask", "blur"])
def work(request: pytest.FixtureRequest) -> Work:
    return Work.of(toy_prior(), images=7, size=16, batch=3, steps=10, method="ddnm", degradation=request.param)


def test_every_way_makes_the_same_pictures(work: Work) -> None:
    runs = list(measure(work, rounds=2, calls=1))
    assert [run.way for run in runs] == [*work.ways, *list(work.ways)[1:], "one by one"]
    assert all(run.difference is not None and run.difference < 1e-4 for run in runs if run.way != "one by one")
    assert all(run.nfe == sum(work.calls_needed()) and run.seconds > 0 and run.call > 0 for run in runs)


def test_what_the_ways_call_the_network_for(work: Work) -> None:
    sizes: list[int] = []
    toy = work.prior.network  # type: ignore[attr-defined]

    def network(x: Tensor, i: Tensor) -> Tensor:
        sizes.append(len(x))
        return toy(x, i)

    work.prior.network = network  # type: ignore[attr-defined]
    needed = work.calls_needed()
    assert min(needed) == 1 and max(needed) == 10 and len(needed) == 7
    called = {}
    for name, way in work.ways.items():
        sizes.clear()
        way()
        called[name] = list(sizes)
    assert set(called["one by one"]) == {1} and len(called["one by one"]) == sum(needed)
    longest = sum(max(needed[first : first + 3]) for first in range(0, 7, 3))
    assert set(called["padded"]) == {3} and len(called["padded"]) == longest
    assert len(called["shrinking"]) == longest and sum(called["shrinking"]) == sum(needed)
    assert set(called["sorted"]) == {3} and sum(needed) / 3 <= len(called["sorted"]) < longest
    assert sum(called["slots"]) == sum(needed) and len(called["slots"]) < longest


def test_an_unknown_way_is_refused(work: Work) -> None:
    with pytest.raises(ConfigError, match="no way 'backwards'"):
        next(measure(work, 1, ["backwards"]))
    with pytest.raises(ConfigError, match="no degradation 'rain'"):
        Work.of(toy_prior(), 1, 16, 1, 1, "ddnm", "rain")


def study(precision: str, slots: float) -> dict[str, object]:
    runs = [
        {
            "way": way,
            "seconds": seconds,
            "cpu": seconds / 2,
            "nfe": 80,
            "call": 0.5,
            "call_cpu": 0.25,
            "difference": gap,
        }
        for way, seconds, gap in (("one by one", 20.0, None), ("padded", 12.0, 1e-6), ("slots", slots, 3e-6))
    ]
    return {
        "prior": "photo",
        "precision": precision,
        "method": "diffpir",
        "degradation": "blur",
        "images": 16,
        "size": 64,
        "batch": 8,
        "steps": 40,
        "device": "cpu",
        "threads": 1,
        "calls": [1, 9],
        "machine": {"processor": "a processor"},
        "versions": {"torch": str(torch.__version__)},
        "runs": runs,
    }


def test_figures_and_verdicts_follow_from_the_runs() -> None:
    found = page.summary(study("float32", 5.5), "slots", "seconds")
    assert found.rate == pytest.approx(16 / 5.5) and found.gain == pytest.approx(12 / 5.5)
    assert found.efficiency == pytest.approx(80 * 0.5 / 8 / 5.5) and found.difference == 3e-6
    assert page.clock(study("float32", 5.5)) == "cpu"  # half of the core was another's
    assert page.clock({**study("float32", 5.5), "device": "cuda"}) == "seconds"
    assert page.clock({**study("float32", 5.5), "threads": 2}) == "cpu"
    assert page.clock({**study("float32", 5.5), "runs": [{"seconds": 5.0, "cpu": 4.9}]}) == "seconds"
    assert page.clock({**study("float32", 5.5), "runs": [{"seconds": 2.5, "cpu": 4.9}], "threads": 2}) == "seconds"
    text = page.text([study("float32", 5.5), study("bfloat16", 9.0)])
    assert "0.91, reached; at least 1.5 times padded batches: 2.18, reached" in text
    assert "0.56, missed; at least 1.5 times padded batches: 1.33, missed" in text
    assert "None of this was measured on a GPU" in text


def test_a_study_takes_the_place_of_one_of_the_same_settings(tmp_path: Path) -> None:
    out = tmp_path / "results" / "throughput.json"
    for precision, seconds in (("float32", 5.5), ("bfloat16", 3.0), ("float32", 6.0)):
        save(out, study(precision, seconds))
    kept = json.loads(out.read_text())["studies"]
    assert [one["precision"] for one in kept] == ["bfloat16", "float32"]
    assert kept[1]["runs"][-1]["seconds"] == 6.0 and [path.name for path in out.parent.iterdir()] == [out.name]
