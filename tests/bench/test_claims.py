"""The page of claims is what the result files give, and the verdicts can go either way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pellucid import methods
from pellucid.bench.claims import causes, page, ssd
from pellucid.bench.claims.claim import CLAIMS
from pellucid.bench.claims.collect import collect, replicates
from pellucid.bench.claims.inversion import POINTS, TOP, climb, gaussian_kl, mixed_moments
from pellucid.bench.claims.results import MissingResults, Results, of_replicates, save_table
from pellucid.bench.claims.verdict import Part, above, below, verdict, within
from pellucid.bench.store import Store
from pellucid.errors import ConfigError
from pellucid.grid import Inclusive
from pellucid.metrics.statistics import Summary
from pellucid.noise import SeededNoise
from pellucid.problem import Problem
from pellucid.start.initial import PseudoInverse
from pellucid.start.inversion import Ascend
from tests.methods.setting import Setting
from tests.toys import ABAR, pictures

IMAGES = [f"p{i}" for i in range(12)]


def made_up(folder: Path, effect: Callable[[str, str], dict[str, float]]) -> Results:
    """Result files in which `effect(task, label)` says psnr, effnet_distance, residual and frechet of a method."""
    noise = np.random.default_rng(0)
    rows, sets = [], []
    groups = {
        plan: [
            (t, f"{m}-{n}")
            for t, of in ssd.TASKS.items()
            if of == plan
            for m in ("ssd", "ddnm", "ddrm")
            for n in (10, 30, 100)
        ]
        for plan in dict.fromkeys(ssd.TASKS.values())
    }
    groups |= {
        "ssd-inversion": [("sr4", f"eta {e}{d}") for e in ssd.ETAS for d in ("", " down 0")] + [("sr4", "projected")],
        "ssd-plus": [
            (t, m)
            for t in ("sr8 noise", "sr8 jpeg", "colour noise", "colour jpeg", "wrong blur")
            for m in ("ssd", "ssd+")
        ],
    }
    for name, pairs in groups.items():
        for task, label in pairs:
            level = {"psnr": 25.0, "effnet_distance": 0.3, "residual": 0.1, "frechet": 2.0} | effect(task, label)
            for image in IMAGES:
                row = {c: level[c] * (1 + 1e-4 * float(noise.normal())) for c in ("effnet_distance", "residual")}
                row["psnr"] = level["psnr"] + 0.01 * float(noise.normal())
                where = {"plan": name, "task": task, "label": label, "image": image}
                rows.append({**where, "nfe": 30, "seconds": 1.0, **row})
            spread = level["frechet"] * (1 + 1e-3 * noise.normal(size=101))
            text = " ".join(f"{v:.5g}" for v in [level["frechet"], *spread[1:]])
            sets.append({"plan": name, "task": task, "label": label, "frechet": text})
    columns = ("plan", "task", "label", "image", "nfe", "psnr", "effnet_distance", "residual", "seconds")
    save_table(folder / "rows.csv", rows, columns)
    save_table(folder / "sets.csv", sets, ("plan", "task", "label", "frechet"))
    return Results(folder)


def timed(folder: Path, fast: float) -> None:
    rows = [
        {"image": i, "label": label, "processor_seconds": seconds}
        for i in IMAGES
        for label, seconds in (("ssd-30", fast), ("ddnm-100", 10.0))
    ]
    save_table(folder / "timing.csv", rows, ("image", "label", "processor_seconds"))


def inverted(folder: Path, level: Callable[[int, float], float]) -> None:
    """An inversion.csv in which the noise has mean 0 and the standard deviation level(factor, eta)."""
    rows = [
        {"image": i, "factor": f, "eta": e, "t": 1.0}
        | {"mean": 0.0, "std": level(f, e), "mixed_mean": 0.0, "mixed_std": level(f, e) + 1e-4 * n}
        for f in (1, 2, 4, 8)
        for e in (0.0, 0.4)
        for n, i in enumerate(IMAGES)
    ]
    columns = ("image", "factor", "eta", "t", "mean", "std", "mixed_mean", "mixed_std")
    save_table(folder / "inversion.csv", rows, columns)


def good(task: str, label: str) -> dict[str, float]:
    """What the paper says."""
    found: dict[str, float] = {}
    if label == "ssd-100":
        found = {"effnet_distance": 0.27, "frechet": 1.7}
    if label == "ddnm-10":
        found = {"effnet_distance": 0.5}
    if label == "ddrm-10":
        found = {"effnet_distance": 0.5}
    if label.startswith("eta"):
        eta = float(label.split()[1])
        found = {"residual": 0.01 + 0.09 * eta, "frechet": 1 + 4 * (1 - eta) ** 3, "psnr": 18 + 5 * eta}
    if label == "projected":
        found = {"psnr": 28.0}
    if label == "ssd+":
        found = {"psnr": 26.0, "effnet_distance": 0.2}
    return found


def bad(task: str, label: str) -> dict[str, float]:
    """The contrary in everything."""
    found: dict[str, float] = {}
    if label.startswith("ssd-"):
        found = {"effnet_distance": 0.4, "frechet": 3.0, "psnr": 24.0}
    if label == "ssd-10":
        found = {"effnet_distance": 0.6}
    if label.startswith("eta"):
        eta = float(label.split()[1])
        found = {"residual": 0.1 - 0.05 * eta, "frechet": 1 + 4 * eta**0.3, "psnr": 28 - 5 * eta}
    if label == "projected":
        found = {"psnr": 20.0}
    if label == "ssd+":
        found = {"psnr": 24.0, "effnet_distance": 0.4}
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of the paper's results, in a folder of all papers'."""
    made = tmp_path / "ssd"
    made.mkdir()
    return made


@pytest.fixture
def reproduced(folder: Path) -> Results:
    timed(folder, 3.1)
    return made_up(folder, good)


@pytest.fixture
def refuted(folder: Path) -> Results:
    timed(folder, 9.0)
    inverted(folder, lambda factor, eta: 1 - 0.1 / factor - eta)
    return made_up(folder, bad)


@pytest.mark.parametrize("name", ["S1", "S2", "S3", "S4", "S6", "S7"])
def test_made_up_results_that_agree_with_the_paper_reproduce_it(name: str, reproduced: Results) -> None:
    parts = list(ssd.TESTS[name](reproduced))
    assert verdict(parts) == "reproduced", [part for part in parts if part.holds is not True]


@pytest.mark.parametrize("name", sorted(ssd.TESTS))
def test_made_up_results_to_the_contrary_refute_it(name: str, refuted: Results) -> None:
    parts = list(ssd.TESTS[name](refuted))
    assert verdict(parts) == "not reproduced", [part for part in parts if part.holds is not False]


def test_one_task_that_fails_makes_it_partly(tmp_path: Path) -> None:
    timed(tmp_path, 3.1)
    results = made_up(tmp_path, lambda t, m: {"psnr": 24.0} if (t, m) == ("sr8", "ssd-30") else good(t, m))
    (failed,) = [part for part in ssd.s1(results) if part.holds is not True]
    assert failed.holds is False and failed.what.startswith("sr8") and failed.figure.startswith("-1.0")
    assert verdict(list(ssd.s1(results))) == "partly"


def test_noise_that_departs_and_is_pulled_back_reproduces_s5(tmp_path: Path) -> None:
    inverted(tmp_path, lambda factor, eta: 1 - 0.1 * factor * (1 - eta))
    parts = list(ssd.s5(Results(tmp_path)))
    assert all(part.holds for part in parts if "Theorem" not in part.what)
    (theorem,) = [part for part in parts if "Theorem" in part.what]
    assert theorem.holds is False  # the made-up mixture has the spread of the prediction, which eq. (16) forbids


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        ([True, True], "reproduced"),
        ([True, False], "partly"),
        ([True, None], "partly"),
        ([False, False], "not reproduced"),
        ([False, None], "not reproduced"),
        ([None, None], "not testable here"),
        ([], "not testable here"),
    ],
)
def test_verdict(held: list[bool | None], wanted: str) -> None:
    assert verdict([Part("", "", "", h) for h in held]) == wanted


def test_an_interval_on_both_sides_decides_nothing() -> None:
    number = Summary(10, 0.1, 0.1, -0.2, 0.4)
    assert above(number, 0) is None and below(number, 0) is None and within(number, 0.3) is None
    assert above(number, -0.2) and below(number, 0.4) and within(number, 0.4)
    assert above(number, 0.5) is False and below(number, -0.3) is False
    assert within(Summary(10, 0.4, 0.1, 0.35, 0.45), 0.3) is False


def test_the_page_is_what_the_result_files_give() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.text(page.RESULTS), "run python -m pellucid.bench.claims page"


def test_the_page_has_every_claim_once_and_a_changed_result_changes_it(refuted: Results) -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    for claim in CLAIMS:
        assert len(re.findall(rf"^\| \[?{claim.name}\b", text, flags=re.MULTILINE)) == 1
    assert "**not reproduced**" in "\n".join(page._overview(page.test_all(refuted.folder.parent)))


def test_a_missing_experiment_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingResults):
        Results(tmp_path).table("rows")
    tested = {one.claim.name: one for one in page.test_all(tmp_path)}
    assert {one.verdict for one in tested.values()} == {page.UNRUN}
    assert page.UNRUN in page.text(tmp_path)


def test_divergence_is_that_of_two_gaussians() -> None:
    mean, std = torch.tensor([0.0, 0.3, -1.0]), torch.tensor([1.0, 0.7, 2.0])
    normal = torch.distributions.Normal(0.0, 1.0)
    wanted = torch.distributions.kl_divergence(torch.distributions.Normal(mean, std), normal)
    assert torch.allclose(gaussian_kl(mean, std), wanted, atol=1e-6)
    assert ssd.kl(0.3, 0.7) == pytest.approx(float(wanted[1]), abs=1e-6)


def test_mixing_in_fresh_noise_moves_moments_as_eq_16_says() -> None:
    generator = torch.Generator().manual_seed(0)
    eps = 0.3 + 0.6 * torch.randn(200_000, generator=generator, dtype=torch.float64)
    z = torch.randn(200_000, generator=generator, dtype=torch.float64)
    mixed = (1 - 0.4) ** 0.5 * eps + 0.4**0.5 * z
    mean, std = mixed_moments(0.3, 0.6, 0.4)
    assert float(mixed.mean()) == pytest.approx(mean, abs=0.01)
    assert float(mixed.std()) == pytest.approx(std, abs=0.01)


def test_the_study_climbs_as_ssd_does() -> None:
    setting = Setting.of("bicubic")
    prior, seeds = setting.prior, (3, 4)
    observation = prior.codec.observe(setting.problem)
    x = observation.operator.pinv(observation.y)  # type: ignore[operator]
    start = Ascend(PseudoInverse(), Inclusive(POINTS), TOP, 0.4)
    wanted = start(observation, prior, SeededNoise(list(seeds)), torch.full((2,), 1000.0, dtype=torch.float64))
    points = list(climb(prior, x, seeds, 0.4))
    assert len(points) == POINTS - 1 and points[0].t == 1.0
    assert torch.allclose(points[-1].reached, wanted.x, atol=1e-10)
    assert all(0 < point.share < 1 for point in points)


def test_ssd_without_projection_is_ssd_plus_that_lets_go_at_the_top() -> None:
    setting = Setting.of("bicubic")
    alone = setting.run(methods.ssd(nfe=14, n_inv=5, project=False))
    plus = setting.run(methods.ssd_plus(nfe=14, n_inv=5, t_stop=0.55))
    assert torch.equal(alone, plus)
    assert float((alone - setting.run(methods.ssd(nfe=14, n_inv=5))).abs().max()) > 0.01


def test_ssd_without_projection_does_not_agree_with_the_measurement() -> None:
    setting = Setting.of("average")
    problem = Problem(setting.operator(pictures(2)), setting.operator)
    from pellucid.loop import reconstruct

    residuals = [
        float((setting.operator(reconstruct(problem, setting.prior, method).image) - problem.y).abs().max())
        for method in (methods.ssd(nfe=10), methods.ssd(nfe=10, project=False))
    ]
    assert residuals[0] < 1e-9 < 1e-2 < residuals[1]


def test_replicates_of_equal_sets_are_zero_and_of_moved_ones_grow() -> None:
    features = torch.randn(10, 8, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert max(replicates(features, features, count=5)) < 1e-9
    near, far = replicates(features + 0.1, features, count=20), replicates(features + 1.0, features, count=20)
    assert near[0] == pytest.approx(6 * 0.01, rel=1e-6) and far[0] == pytest.approx(6.0, rel=1e-6)
    assert of_replicates(np.array(far) - np.array(near)).low > 0


def test_collected_files_hold_what_the_run_said(tmp_path: Path) -> None:
    run, out = tmp_path / "ssd-table1", tmp_path / "out"
    (run / "parts").mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    rows, features = [], []
    for number in range(3):
        key = f"k{number}"
        scores = {"psnr": 20.0 + number, "effnet_distance": 0.1, "residual": 0.0, "seconds": 2.0, "nfe": 29}
        where = {"task": "sr4", "label": "ssd-30", "image": f"p{number}", "image_sha256": f"{number}" * 64}
        rows.append({"key": key, "status": "ok", "error": None, **where, **scores})
        for name in (key, "truth-" + f"{number}" * 24):
            values = torch.randn(4 * 5, generator=generator).tolist()
            features.append({"key": name, "metric": "effnet_frechet", "crops": 4, "values": values})
    Store(run).put("a", {"rows": rows, "features": features})
    plan = {"data": {"size": 128, "crop": "square"}, "title": "t", "task": [{"name": "sr4", "operator": "identity"}]}
    record = {
        "plan": plan,
        "source": "s",
        "images": [{"name": name} for name in IMAGES[:3]],
        "priors": {},
        "precision": "p",
        "metrics": {},
    }
    record |= {"versions": {}, "commit": "c", "machine": "m", "written": "now"}
    (run / "plan.json").write_text(json.dumps(record))
    collect(tmp_path, out, ["ssd-table1", "absent"])
    results = Results(out)
    assert results.values("ssd-table1", "sr4", "ssd-30", "psnr").tolist() == [20, 21, 22]
    assert results.frechet("ssd-table1", "sr4", "ssd-30")[0] > 0
    assert results.provenance["ssd-table1"]["seconds"] == 6
    Store(run).put("b", {"rows": [{**rows[0], "key": "k9", "status": "error", "error": "it broke"}]})
    with pytest.raises(ConfigError, match="it broke"):
        collect(tmp_path, out, ["ssd-table1"])


def test_levels_in_the_texts_are_those_of_the_schedule() -> None:
    assert causes.power(0.55) == pytest.approx(float(ABAR[549]), rel=1e-9)
    assert causes.noise_left(0.2) == pytest.approx(float(((1 - ABAR[199]) / ABAR[199]) ** 0.5) / 2, rel=1e-9)


def test_no_cause_is_named_without_its_experiment(refuted: Results) -> None:
    assert causes.of("S4", refuted) == causes.of("S6", refuted) == causes.of("S2", refuted) == ""
    assert "ddnm-30 less ddnm-100" in "\n".join(causes.fewer_calls(refuted))


def test_convexity_is_that_of_the_curve(reproduced: Results) -> None:
    residual, frechet = 0.01 + 0.09 * 0.4, 1 + 4 * 0.6**3
    line = 5 + (residual - 0.01) / 0.09 * (1 - 5)
    assert ssd.chord(reproduced, "").mean == pytest.approx(100 * (frechet - line), abs=1)
