"""The claims of ADIR on made-up results: the verdicts can go either way; and its studies on small things."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid.bench.claims import adir, adir_page, adir_queries, tiles
from pellucid.bench.claims.papers import ADIR
from pellucid.bench.claims.results import Results, save_table
from pellucid.bench.claims.verdict import verdict
from pellucid.bench.plan import Data
from pellucid.errors import ConfigError
from pellucid.prior.gaussian import GaussianPrior

COLUMNS = (
    "plan",
    "task",
    "label",
    "image",
    "psnr",
    "effnet_distance",
    "seconds",
    "adapt_seconds",
    "search_seconds",
    "nearest",
)
IMAGES = [f"p{k}" for k in range(8)]
HELPFUL = ("near", "all")
ARMS = ("base", "near", "mse", "random", "own", "surroundings")


def groups() -> list[tuple[str, str, str]]:
    """(plan, task, label) of everything that is run."""
    found = [(adir.TABLE, task, label) for task in adir.TASKS[adir.TABLE] for label in ARMS]
    tasks = (*adir.TASKS[adir.DOMAIN], "deblur 20 off")
    found += [(adir.DOMAIN, task, label) for task in tasks for label in ("base", "near", "random")]
    found += [(adir.SETTINGS, "grey", label) for label in ("base", "steps 10", "steps 50", "K 1", "K 50", "full")]
    found += [(adir.COLLECTIONS, "grey", label) for label in ("base", "all", "100", "20", "photos", "narrow")]
    arms = [f"{kind} {arm}" for kind in adir.KINDS for arm in ("base", "near")]
    found += [(adir.SAMPLERS, task, label) for task in adir.SAMPLED for label in arms]
    found += [(adir.RESOLUTION, "sr4", label) for label in ("base", "near", "random")]
    forms = ("surrogate", "naive", "autograd", "paper")
    return found + [
        (adir.GUIDANCE, t, f"{form} {calls}") for t in adir.TASKS[adir.TABLE] for form in forms for calls in (20, 100)
    ]


def made_up(folder: Path, good: bool) -> Results:
    """Result files in which everything is as the paper says, or the other way round."""
    noise, sign, rows = np.random.default_rng(0), 1.0 if good else -1.0, []
    for plan, task, label in groups():
        gain = sign * (label.split()[-1] in HELPFUL)
        if plan == adir.GUIDANCE:
            gain = 2 * sign * label.startswith("surrogate")
        if not good and label in ("mse", "photos", "narrow", "20"):
            gain = 1.0
        for image in IMAGES:
            numbers = [25 + gain, 0.3 - 0.05 * gain] + 0.001 * noise.normal(size=2)
            rows.append(dict(zip(COLUMNS, [plan, task, label, image, *numbers, 0.5, 9.0, 0.2, 0.6], strict=True)))
    folder.mkdir(parents=True, exist_ok=True)
    save_table(folder / "rows.csv", rows, COLUMNS)
    return Results(folder)


@pytest.mark.parametrize(("good", "said"), [(True, "reproduced"), (False, "not reproduced")])
def test_verdicts_follow_the_numbers(good: bool, said: str, tmp_path: Path) -> None:
    results = made_up(tmp_path, good)
    found = {name: verdict(list(test(results))) for name, test in adir.TESTS.items()}
    assert set(found) == {f"A{k}" for k in range(1, 7)} == set(adir.EXPERIMENTS)
    assert set(found.values()) == {said}, found


def test_remarks_and_plots_are_drawn_from_the_results(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    results = made_up(tmp_path, True)
    rows = [
        {"task": task, "image": image, "query": query, "agree": 0.25 * (1 + k), "similarity": 0.5, "best": 0.6}
        for task in adir_queries.TASKS
        for image in IMAGES
        for k, query in enumerate(adir_queries.QUERIES)
    ]
    save_table(tmp_path / "adir-queries.csv", rows, adir_queries.COLUMNS)
    first = adir_page.of("A1", results)
    assert first.count("+1.00 dB") == 4 + 3 + 1 and "| 0.20 | 9.0 | 0.50 | 25 |" in first
    assert "a cosine of 0.40" in first
    assert "| 25 % | 0.500 | 50 % | 0.500 | 75 % | 0.500 |" in adir_page.of("A2", results)
    assert "27.00 dB" in adir_page.of("A4", results) and "1100 quarters" in adir_page.of("A6", results)
    for _, draw, _ in adir_page.PLOTS.values():
        figure = Figure()
        draw(results, figure)
        assert figure.axes


def test_what_was_not_run_is_left_out(tmp_path: Path) -> None:
    assert adir_page.of("A2", Results(tmp_path)) == ""
    assert all(name in ADIR.tests for name in ADIR.plots)


def test_squares_of_pictures_and_of_slices(tmp_path: Path) -> None:
    source = tmp_path / "pictures"
    source.mkdir()
    values = np.random.default_rng(0).integers(0, 256, (70, 100, 3), dtype=np.uint8)
    Image.fromarray(values).save(source / "a.png")
    assert tiles.study(source, tmp_path / "out", 32) == 6
    middle = np.asarray(Image.open(tmp_path / "out" / "a-1-2.png"))
    assert np.array_equal(middle, values[3 + 32 : 3 + 64, 2 + 64 : 2 + 96])
    volume = np.stack([np.full((16, 16), hu, np.int16) for hu in (-1000, 0, 1000, 3000)])
    np.savez(tmp_path / "ct.npz", hu=volume)
    assert tiles.study(tmp_path / "ct.npz", tmp_path / "ct", 16, every=2) == 2
    found = {path.name: int(np.asarray(Image.open(path))[0, 0]) for path in (tmp_path / "ct").iterdir()}
    assert found == {"hu-000-0-0.png": 0, "hu-002-0-0.png": 255}
    with pytest.raises(ConfigError, match="no picture of 512"):
        tiles.study(source, tmp_path / "none", 512)


def test_queries_are_held_against_what_the_truth_finds(tmp_path: Path) -> None:
    pytest.importorskip("lancedb")
    from pellucid.retrieval import Index

    pictures, generator = tmp_path / "pictures", torch.Generator().manual_seed(0)
    pictures.mkdir()
    for k in range(6):
        coarse = torch.rand(1, 3, 4, 4, generator=generator)
        fine = torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bicubic").clamp(0, 1)[0]
        Image.fromarray((255 * fine).byte().permute(1, 2, 0).numpy()).save(pictures / f"{k}.png")
    index = Index.create(str(tmp_path / "i.index"), "pixel")
    index.add([pictures])
    prior = GaussianPrior(torch.ones(3, 32, 32, dtype=torch.float64) / 4)
    data = Data(pictures, size=32, count=2)
    adir_queries.study(prior, index, data, tmp_path / "out.csv", k=3, calls=3)
    rows = Results(tmp_path).table("out")
    assert len(rows) == 2 * len(adir_queries.TASKS) * 3
    sharp = [row for row in rows if (row["task"], row["query"]) == ("sr4", "measurement")]
    assert all(float(row["best"]) > 0.99 and float(row["agree"]) > 0.3 for row in sharp)
