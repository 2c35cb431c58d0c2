"""What hard consistency costs: the study stores, resumes and refuses; the page and R6 follow from the files."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid.bench.claims import cost_page, hard, memory
from pellucid.bench.claims.results import MissingResults, Results
from pellucid.bench.plan import Data
from pellucid.consistency.hard import ByCodec, HardConsistency, LatentOptimisation
from pellucid.errors import ConfigError
from pellucid.methods.resample import resample
from tests.latent import toy_latent_prior

SETUP = {"prior": "toy", "fingerprint": "0" * 64, "precision": "float64"}
SHORT = {
    hard.OURS: partial(resample, 10, every=2),
    hard.RELEASED: partial(resample, 20, as_released=True, pixel_steps=5, latent_steps=5),
}


@pytest.fixture
def data(tmp_path: Path) -> Data:
    folder = tmp_path / "pictures"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (2, 16, 16, 3), dtype=np.uint8)
    for name, one in zip("ab", pixels, strict=True):
        Image.fromarray(one).save(folder / f"{name}.png")
    return Data(folder, size=16, crop="square", count=2)


def test_a_run_is_stored_goes_on_and_is_counted(data: Data, tmp_path: Path) -> None:
    out, prior = tmp_path / "hard.json", toy_latent_prior()
    first = {hard.OURS: SHORT[hard.OURS]}
    hard.study(prior, SETUP, data, out, ["sr4"], first)
    before = json.loads(out.read_text())["runs"]["sr4"][hard.OURS]
    whole = hard.study(prior, SETUP, data, out, ["sr4"], SHORT)
    assert whole["runs"]["sr4"][hard.OURS] == before
    released = whole["runs"]["sr4"][hard.RELEASED]
    assert released["nfe"][0] > 20  # the look-ahead's calls come on top
    assert released["decode_vjps"][0] >= 20 and before["decode_vjps"][0] < 20
    assert len(released["psnr"]) == 2 and released["processor_seconds"] > 0
    with pytest.raises(ConfigError, match="precision"):
        hard.study(prior, {**SETUP, "precision": "float32"}, data, out, ["sr4"], first)
    with pytest.raises(ConfigError, match="known are"):
        hard.study(prior, SETUP, data, out, ["sr8"], first)
    text = cost_page.text(tmp_path)
    ratio = cost_page.passes(released) / cost_page.passes(before)
    assert f"| {ratio:.0f}x |" in text and "the paper on sr4" in text


def test_cold_start_differs_from_ours_in_nothing_else() -> None:
    method, ours = hard.cold(), resample()
    for one, warm in ((method, False), (ours, True)):
        assert isinstance(one.consistency, HardConsistency) and isinstance(one.consistency.latent, ByCodec)
        assert isinstance(one.consistency.latent.latents, LatentOptimisation)
        assert one.consistency.latent.latents.warm is warm
    assert method.grid == ours.grid and len(set(hard.VARIANTS)) == len(hard.VARIANTS)


def made_up(folder: Path, spared: float, guided: float, lean: float | None = None) -> Results:
    def run(held: float, increment: float) -> dict[str, float]:
        return {"weights_mb": held, "increment_mb": increment, "gradients": 2, "seconds": 1.0}

    latent = {"unconditional": 100, "resample, checkpoint": spared, "psld": guided, "ldps": guided}
    if lean is not None:
        latent["unconditional, checkpoint"] = lean
    whole = {
        "setup": {"size": 256, "precision": "float32", "operator": "identity"},
        "runs": {
            "ldm-vq-4": {name: run(1000, value) for name, value in latent.items()},
            "adm-ffhq": {"unconditional": run(400, 100), "dps": run(400, guided)},
        },
    }
    (folder / "memory.json").write_text(json.dumps(whole))
    return Results(folder)


def test_r6_can_go_either_way(tmp_path: Path) -> None:
    with pytest.raises(MissingResults):
        list(cost_page.r6(Results(tmp_path)))
    assert [part.holds for part in cost_page.r6(made_up(tmp_path, 250, 2000))] == [True] * 5
    assert [part.holds for part in cost_page.r6(made_up(tmp_path, 300, 2000))] == [True, False, True, True, True]
    assert [part.holds for part in cost_page.r6(made_up(tmp_path, 1500, 200))] == [False] * 5
    results = made_up(tmp_path, 350, 2000, lean=50)  # 250 of 1100, but 300 of 1050
    assert [part.holds for part in cost_page.r6(results)] == [True, False, False, True, True, True]
    made_up(tmp_path, 1500, 200)
    text = cost_page.text(tmp_path)
    assert "| ldm-vq-4 | resample, checkpoint | 1000 | 1500 | +150 % | +127 % |" in text and "missed" in text


@pytest.mark.parametrize(("make", "millions"), [("latent", 274.056163 + 55.322782), ("pixel", 93.563910)])
def test_networks_have_the_papers_shapes(make: str, millions: float) -> None:
    pytest.importorskip("diffusers")
    with torch.device("meta"):
        made = memory.latent_diffusion if make == "latent" else memory.pixel_diffusion
        assert memory.weights(made("float32", False)) == pytest.approx(4e6 * millions, abs=100)
