"""The study of severity encoders: its lists, its figures, what is measured again, and F1 either way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pellucid.bench.claims import severity_cost as cost
from pellucid.bench.claims import severity_figures as figures
from pellucid.bench.claims import severity_page as page
from pellucid.bench.claims import severity_plots as plots
from pellucid.bench.claims import severity_study as study
from pellucid.bench.claims.results import MissingResults, Results
from pellucid.errors import ConfigError, UnknownNameError
from pellucid.nn.severity import SeverityNetwork
from pellucid.prior.base import Prior
from pellucid.problem import Problem
from pellucid.severity import NetworkSeverity
from pellucid.zoo.card import Card
from tests.latent import codec, toy_latent_prior

ABOUT = {"folder": "toys", "pictures": 6, "sizes": [16, 32], "sha256": "0" * 64}


class Knows(SeverityNetwork):
    """z_hat is E(y), and the variance entry by entry the energy of the differences of neighbours, times a factor."""

    def __init__(self, factor: float = 0.5) -> None:
        super().__init__()
        self.config = {"channels": 3, "latent": 3}
        self.multiple, self.factor = 2, torch.nn.Parameter(torch.tensor(factor))

    def field(self, y: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.nn.functional.avg_pool2d(y, 2)
        return z, self.factor * (z - z.roll(1, -1)).square() + 1e-4


class Unchecked(NetworkSeverity):
    """Of no class that tells latents from pixels."""

    def check(self, problem: Problem, prior: Prior) -> None:
        """Everything goes."""


@pytest.fixture
def small() -> study.Pictures:
    """Pictures from smooth to rough."""
    generator = torch.Generator().manual_seed(0)
    rough = torch.rand(6, 3, 32, 32, generator=generator) - 0.5
    x = 0.5 + torch.linspace(0.05, 0.9, 6)[:, None, None, None] * rough
    return study.Pictures({16: x[..., 8:24, 8:24], 32: x})


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, study.Encoder]:
    """The encoder of blur, and no other."""
    severity = Unchecked(Knows(), 2.0, families=("gaussian-blur:std=0.3..3.0",), noise=(0.05, 0.05))
    card = Card(Path("."), {"name": "toy", "kind": "severity", "sha256": "a", "training": {"steps": 3}})
    there = {study.BLUR: study.Encoder(severity, codec(), card)}

    def encoder(name: str) -> study.Encoder:
        if name not in there:
            raise UnknownNameError("severity encoder", name, there)
        return there[name]

    monkeypatch.setattr(study, "encoder", encoder)
    return there


def test_a_study_measures_what_is_there_and_again_what_changed(
    tmp_path: Path, small: study.Pictures, known: dict[str, study.Encoder]
) -> None:
    out = tmp_path / "severity.json"
    whole = study.study(out, ABOUT, small)
    assert set(whole["runs"]) == {"errors", "blur"} and set(whole["runs"]["errors"]) == {study.BLUR}
    sizes = whole["runs"]["errors"][study.BLUR]["sizes"]
    assert [len(run["predicted"]) for run in sizes.values()] == [3 * study.REPEATS] * 2
    before = json.loads(out.read_text())
    study.study(out, ABOUT, small)
    assert json.loads(out.read_text()) == before
    one = known[study.BLUR]
    known[study.BLUR] = replace(one, severity=replace(one.severity, temperature=4.0))
    after = study.study(out, ABOUT, small, ["errors"])["runs"]
    twice = 2 * np.array(sizes["32"]["predicted"])
    assert np.allclose(after["errors"][study.BLUR]["sizes"]["32"]["predicted"], twice, atol=1e-6)
    assert after["blur"] == before["runs"]["blur"]
    with pytest.raises(ConfigError, match="another setup"):
        study.study(out, {**ABOUT, "pictures": 5}, small)


def test_true_errors_are_those_of_the_estimate(small: study.Pictures, known: dict[str, study.Encoder]) -> None:
    run = study.blur(study.BLUR, small)
    x = small.crops[32]
    assert np.shape(run["predicted"]) == (6, len(study.STDS))
    rough = np.array(run["true"])
    assert (np.diff(rough[:, -1]) > 0).all()  # a rougher picture loses more
    assert (np.diff(run["edges"]) > 0).all() and (np.diff(run["fine"]) > 0).all()
    by_hand = (
        (x[..., 1:] - x[..., :-1]).mean(1).square().mean() + (x[..., 1:, :] - x[..., :-1, :]).mean(1).square().mean()
    ) / 2
    assert float(study.edges(x).mean()) == pytest.approx(float(by_hand), rel=1e-5)
    one = known[study.BLUR]
    z0 = one.codec.encode(x[:1])
    assert one.both(x[:1], z0)[1] == 0
    assert one.both(x[:1], z0)[0] == pytest.approx(2 * Knows().field(2 * x[:1] - 1)[1].mean().item(), rel=1e-5)


def test_maps_are_compared_in_blocks(small: study.Pictures, known: dict[str, study.Encoder]) -> None:
    rows = study.errors(study.BLUR, small)["sizes"]["32"]
    assert {len(v) for v in rows.values()} == {3 * study.REPEATS}
    assert all(-1 <= v <= 1 for v in [*rows["map"], *rows["edges"]]) and np.std(rows["map"]) > 0
    flat = torch.ones(1, 3, 8, 8)
    assert study.gradient(flat).abs().max() == 0 and study.gradient(flat).shape == flat.shape


def test_the_opening_argument_shows_pictures_of_one_psnr(
    small: study.Pictures, known: dict[str, study.Encoder]
) -> None:
    rows = study.opening(study.BLUR, small, (0.8,))["factors"]["0.8"]
    dark = 0.2 * small.crops[32][0]
    assert rows["psnr"][0] == pytest.approx(float(-10 * dark.square().mean().log10()), abs=1e-3)
    assert figures.less(rows["dark predicted"], rows["noisy predicted"]) == 6


def test_figures_of_rows_that_are_known() -> None:
    rises = [[1.0, 2.0, 3.0], [1.0, 3.0, 2.0], [3.0, 2.0, 1.0]]
    correlations, always = figures.rising(rises)
    assert correlations.tolist() == [1.0, 0.5, -1.0] and always == 1
    off = figures.effects([[1.0, 2.0], [np.e, 2 * np.e]])
    assert off == pytest.approx([-0.5, 0.5])
    assert figures.related([1, 2, 3, 4], [1, 4, 9, 16]).mean == 1
    assert figures.geometric([1, 1], [2, 8]) == pytest.approx(4)
    rng = np.random.default_rng(0)
    true = np.exp(rng.normal(size=(12, 8)))
    known, rank = figures.predicting({"predicted": (2 * true).ravel(), "true": true.ravel()}, 8)
    assert (rank.low, rank.mean, rank.high) == (1, 1, 1) and known.ratio == pytest.approx(0.5)
    loose = figures.predicting({"predicted": rng.permutation(true.ravel()), "true": true.ravel()}, 8)[1]
    assert loose.low < 0 < loose.high


def made_up(folder: Path, knows: bool) -> Results:
    """Results of an encoder that knows, or of one whose predictions have nothing to do with anything."""
    rng = np.random.default_rng(1)
    detail = np.exp(rng.normal(size=24))
    true = detail[:, None] ** 0.4 * np.linspace(1, 6, 10) * np.exp(0.02 * rng.normal(size=(24, 10)))
    told = true if knows else np.exp(rng.normal(size=true.shape))
    cases = np.exp(rng.normal(size=96))
    errors = {"predicted": (cases if knows else rng.permutation(cases)).tolist(), "true": cases.tolist()}
    about = {study.BLUR: {"sha256": "a", "temperature": 1.0, "steps": 3}}
    blur = {"stds": list(study.STDS), "predicted": told.tolist(), "true": true.tolist()}
    runs: dict[str, Any] = {
        "errors": {
            study.BLUR: {"encoders": about, "sizes": {"256": {**errors, "map": [0.5] * 96, "edges": [0.25] * 96}}}
        },
        "blur": {study.BLUR: {"encoders": about, **blur, "edges": detail.tolist(), "fine": detail.tolist()}},
    }
    (folder / "severity.json").write_text(json.dumps({"setup": ABOUT, "runs": runs}))
    return Results(folder)


def test_f1_can_go_either_way(tmp_path: Path) -> None:
    with pytest.raises(MissingResults):
        list(page.f1(Results(tmp_path)))
    assert "Predicted against" not in page.text(tmp_path)
    assert [part.holds for part in page.f1(made_up(tmp_path, knows=True))] == [True] * 4
    text = page.text(tmp_path)
    assert text.count("met.") == 4 and "## Blur of a fixed picture" in text and "## What a step" not in text
    assert not any(part.holds for part in page.f1(made_up(tmp_path, knows=False)))


def test_the_outliers_are_the_farthest(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    made_up(tmp_path, knows=True)
    runs = page.runs(tmp_path)
    low, high = plots.extremes(runs["blur"][study.BLUR])
    detail = np.asarray(runs["blur"][study.BLUR]["edges"])
    assert set(np.argsort(detail)[-3:]) <= set(high) and set(np.argsort(detail)[:3]) <= set(low)
    for name in ("severity-scatter", "severity-blur"):
        plots.PLOTS[name](runs, tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
    plots.outliers(runs, {32: torch.rand(24, 3, 32, 32)}, tmp_path / "outliers.jpg")
    assert (tmp_path / "outliers.jpg").stat().st_size > 5000
    with pytest.raises(MissingResults):
        plots.outliers(runs, {}, tmp_path / "none.jpg")
    with pytest.raises(MissingResults):
        plots.opening(runs, tmp_path / "none.png")


def test_a_step_is_split_by_the_clock(small: study.Pictures) -> None:
    ticks = iter(range(10_000))
    found = cost.split(toy_latent_prior(), small.crops[16][:1].double(), 2, lambda: float(next(ticks)))
    assert {found["parts"][name] for name in (*cost.PARTS, "network alone")} == {1.0}
    assert found["steps"] == dict.fromkeys(cost.WHOLE, 1.0)


def test_flash_with_less_of_it(small: study.Pictures, known: dict[str, study.Encoder]) -> None:
    severity = replace(known[study.BLUR].severity, temperature=300.0)  # so that there are steps to leave out
    found = cost.quality(toy_latent_prior(), severity, small.crops[16][:2].double(), 20)
    rows = found["rows"]
    assert found["stds"] == [study.STDS[0], study.STDS[-1]] and 0 < found["lowered by"] < 1
    full, none = rows["every 1"], rows["no consistency"]
    assert full["nfe"] == full["vjp"] and min(full["nfe"]) >= 5
    assert rows["every 5"]["vjp"] == [-(-n // 5) for n in full["nfe"]] and rows["every 5"]["nfe"] == full["nfe"]
    assert none["vjp"] == [0, 0] and none["nfe"] == full["nfe"] and rows["no diffusion"]["nfe"] == [0, 0]
    assert sum(rows["geometric mean"]["nfe"]) < sum(full["nfe"])
    assert sum(rows["harmonic mean"]["nfe"]) <= sum(rows["geometric mean"]["nfe"])
