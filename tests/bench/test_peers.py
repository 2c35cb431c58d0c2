"""pellucid beside other libraries, with stand-ins for the libraries; the real ones where they are installed."""

from __future__ import annotations

import csv
import dataclasses
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from bench.peers import exact, table
from bench.peers.libraries import installed
from bench.peers.network import Network
from bench.peers.peer import Inexpressible, Peer
from bench.peers.race import OURS, Row, race, theirs_on
from bench.peers.table import Pair, markdown, pairs, put_into, write_pairs, write_rows
from pellucid.account import counting
from pellucid.bench.data import load
from pellucid.bench.plan import Plan
from pellucid.bench.resolve import resolve
from pellucid.errors import ConfigError
from pellucid.operators import LinearOperator, Mask, parse
from pellucid.prior.base import State
from pellucid.prior.gaussian import GaussianPrior
from pellucid.problem import Problem
from pellucid.verify.oracle import posterior

SIZE = 16
PRIOR = GaussianPrior.natural(SIZE)


def noisy(seed: int = 0) -> Tensor:
    return torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def peer(name: str, sample: Any, ours: str = "ddrm", same: bool = True) -> Peer:
    return Peer("other", "1.0", name, ours, sample, f"{name} | as it is", 7, same)


# --- the network


def test_the_network_is_the_prior_at_the_noise_level() -> None:
    t = torch.tensor([300.0], dtype=torch.float64)
    x, alpha = noisy(), PRIOR.process.alpha(t).item()
    there = Network(PRIOR)(x / alpha, PRIOR.process.ratio(t))
    assert torch.allclose(there, PRIOR.estimate(State(x, t)).x0, atol=1e-12)


def test_calls_and_gradients_are_counted_and_right() -> None:
    network, x = Network(PRIOR), noisy()
    with counting(1) as account:
        network(x, 0.5)
        leaf = x.clone().requires_grad_()
        out = network(leaf, 0.5)
        first, second = (torch.autograd.grad(out, leaf, v, retain_graph=True)[0] for v in (noisy(1), noisy(2)))
    assert (account.nfe.tolist(), account.vjp.tolist()) == ([2], [2])
    # The filter is symmetric: its transpose is itself, without the mean.
    zero = network(torch.zeros_like(x), 0.5)
    assert torch.allclose(first, network(noisy(1), 0.5) - zero, atol=1e-10)
    assert torch.allclose(second, network(noisy(2), 0.5) - zero, atol=1e-10)


def test_torch_func_passes_through_and_is_counted() -> None:
    network, x = Network(PRIOR), noisy()
    with counting(1) as account, torch.no_grad():
        out, vjp = torch.func.vjp(lambda z: network(z, 0.5), x)
        (gradient,) = vjp(noisy(1))
        vjp(noisy(2))
    assert torch.allclose(out, network(x, 0.5))
    assert torch.allclose(gradient, network(noisy(1), 0.5) - network(torch.zeros_like(x), 0.5), atol=1e-10)
    assert (account.nfe.tolist(), account.vjp.tolist()) == ([1], [2])


# --- the race


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in (0, 1):
        pixels = torch.randint(256, (SIZE, SIZE, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"p{seed}.png")
    return Plan.of(
        {
            "metrics": ["psnr"],
            "data": {"path": str(folder)},
            "prior": {"precision": "float32"},
            "task": [{"name": "holes", "operator": "mask:random=0.5", "noise": 0.1}],
            "method": [{"name": "ddrm", "nfe": 2}, {"name": "pinv"}],
        }
    )


def test_all_see_one_measurement_and_failures_are_rows(plan: Plan) -> None:
    pytest.importorskip("pyarrow")
    seen: list[Problem] = []

    def pinv(network: Network, problem: Problem, nfe: int) -> Tensor:
        seen.append(problem)
        for _ in range(nfe):
            network(network.codec.encode(problem.y), 1.0)
        assert isinstance(problem.operator, LinearOperator)
        return problem.operator.pinv(problem.y)

    def noise(network: Network, problem: Problem, nfe: int) -> Tensor:
        return torch.rand_like(problem.y)

    def broken(network: Network, problem: Problem, nfe: int) -> Tensor:
        raise ZeroDivisionError("by nothing")

    def speechless(network: Network, problem: Problem, nfe: int) -> Tensor:
        raise Inexpressible("no words")

    def overflowing(network: Network, problem: Problem, nfe: int) -> Tensor:
        return problem.y / 0

    foreign = [peer(f.__name__, f) for f in (pinv, noise, broken, speechless, overflowing)]
    groups = list(race(resolve(plan), [*foreign, peer("alone", pinv, ours="nobody")]))
    rows = [row for group in groups for row in group]
    assert len(rows) == 2 * 6 and {row["pair"] for row in rows} == {"ddrm-2"}  # pinv has no relative
    by = {(row["image"], row["library"], row["method"]): row for row in rows}
    for name, status in {
        "pinv": "ok",
        "broken": "error",
        "speechless": "inexpressible",
        "overflowing": "error",
    }.items():
        assert by["p0", "other", name]["status"] == status
    assert by["p0", "other", "broken"]["error"] == "ZeroDivisionError: by nothing"
    assert by["p0", OURS, "ddrm"]["nfe"] == by["p0", "other", "pinv"]["nfe"] == 2
    # The same y for all: the plan's own, of that picture.
    level = resolve(plan).jobs[0].level
    truth = load(plan.data, plan.data.path / "p0.png")[None]
    operator = parse(level.operators("p0")[0]).build((3, SIZE, SIZE))
    assert torch.equal(seen[0].y, level.measure(truth, operator, ["p0"]))
    assert float(seen[0].std[0]) == pytest.approx(0.1)
    # What comes back is scored: the pseudo-inverse leaves the noise in the holes as its residual.
    assert isinstance(operator, LinearOperator)
    restored = operator.pinv(seen[0].y)
    left = (seen[0].y - operator(restored)).square().mean().sqrt()
    assert by["p0", "other", "pinv"]["residual"] == pytest.approx(left.item(), rel=1e-5) and left > 0.05
    mse = (restored.clamp(0, 1) - truth).square().mean()
    assert by["p0", "other", "pinv"]["psnr"] == pytest.approx(-10 * mse.log10().item(), abs=1e-4)
    # Who begins changes from picture to picture.
    assert [group[0]["method"] for group in groups] == ["ddrm", "pinv"]
    # What is there is not run again; a sampler that was not there then is run beside all others.
    count = len(seen)
    again = [row for group in race(resolve(plan), foreign, rows) for row in group]
    assert len(seen) == count and again == rows
    new = [row for group in race(resolve(plan), [*foreign, peer("second", pinv)], rows) for row in group]
    assert len(new) == 2 * 7 and len(seen) == count + 2 * 2  # on both pictures, itself and the one that is called so


def test_a_foreign_sampler_repeats_itself(plan: Plan) -> None:
    def noise(network: Network, problem: Problem, nfe: int) -> Tensor:
        return torch.rand_like(problem.y)

    problem = Problem(torch.zeros(1, 3, SIZE, SIZE), Mask.box((3, SIZE, SIZE), 4), 0.1)
    first, second, other = (theirs_on(problem, PRIOR, peer("noise", noise), 1, seed).image for seed in (3, 3, 4))
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_a_plan_without_relatives_is_refused(plan: Plan) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(ConfigError, match=r"no method of the plan.*nobody"):
        list(race(resolve(plan), [peer("alone", lambda *_: torch.zeros(1), ours="nobody")]))


# --- the table


def row(library: str, image: str, psnr: float | None, cpu: float = 1.0, seed: int = 0, **more: Any) -> Row:
    found = {"task": "t", "noise": "0.1", "prior": "photo", "pair": "dps-5", "seed": seed, "image": image}
    found |= {"library": library, "method": "dps" if library == OURS else "DPS", "same_paper": True, "settings": "s|t"}
    found |= {"status": "ok" if psnr is not None else "error", "error": None, "nfe": 5, "vjp": 5, "psnr": psnr}
    return found | {"seconds": 2 * cpu, "cpu_seconds": cpu, "residual": 0.1} | more


def test_pairs_are_of_the_same_pictures() -> None:
    rows = [row(OURS, "a", 30.0, 1.0), row(OURS, "b", 28.0, 3.0), row(OURS, "c", 20.0)]
    rows += [row("x", "c", None, error="no | good"), row("x", "b", 27.0, 2.0), row("x", "a", 27.0, 2.0)]
    (pair,) = pairs(rows)
    assert (pair.pictures, pair.theirs, pair.ours, pair.gain) == (2, 27.0, 29.0, 2.0)
    assert pair.low is not None and pair.high is not None and 1 <= pair.low <= 2 <= pair.high <= 3
    assert pair.cpu_time == pytest.approx(1.0) and pair.error == "no | good"  # the median of 1/2 and 3/2


def test_seeds_of_a_picture_count_as_one() -> None:
    rows = [row(library, "a", psnr, seed=seed) for library, psnr, seed in ((OURS, 30, 0), (OURS, 32, 1))]
    rows += [row("x", "a", 30, seed=seed) for seed in (0, 1)]
    (pair,) = pairs(rows)
    assert (pair.pictures, pair.gain, pair.low) == (1, 1.0, None)


def test_a_sampler_that_always_fails_is_in_the_table() -> None:
    (pair,) = pairs([row(OURS, "a", 30.0), row("x", "a", None, error="broken | pipe")])
    assert pair.pictures == 0 and pair.gain is None
    text = markdown([pair], {("x", "DPS"): "zeta=1"})
    assert "broken \\| pipe" in text and "- x DPS: zeta=1" in text


def test_the_page_is_rewritten_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- peers -->\nold\n<!-- /peers -->\nafter\n")
    put_into(page, "a \\1 b\n")
    assert page.read_text() == "before\n<!-- peers -->\na \\1 b\n<!-- /peers -->\nafter\n"
    page.write_text("nothing")
    with pytest.raises(ConfigError, match="no lines <!-- peers -->"):
        put_into(page, "x")


def test_results_are_files(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [row(OURS, "a", 30.0), row("x", "a", 29.0) | {"extra": 1}]
    write_rows(rows, tmp_path / "rows.parquet")
    back = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    assert table.read_rows(tmp_path / "rows.parquet") == back and table.read_rows(tmp_path / "none") == []
    assert [r["psnr"] for r in back] == [30.0, 29.0] and [r["extra"] for r in back] == [None, 1]
    write_pairs(pairs(rows), tmp_path / "pairs.csv")
    head, line = (tmp_path / "pairs.csv").read_text().splitlines()
    assert head.split(",")[:6] == ["task", "noise", "prior", "library", "method", "pair"] and ",29.0,30.0,1.0," in line


def test_readme_has_the_tables_of_the_results() -> None:
    bench = Path(__file__).parents[2] / "bench"
    content = json.loads((bench / "results" / "peers-exact.json").read_text())
    assert exact.markdown([exact.Line(**line) for line in content["lines"]]) in (bench / "README.md").read_text()
    with (bench / "results" / "peers-pairs.csv").open() as file:
        for pair in csv.DictReader(file):
            start = f"| {pair['task']}, noise {pair['noise']} | {pair['library']} {pair['method']} |"
            line = next(line for line in (bench / "README.md").read_text().splitlines() if line.startswith(start))
            assert pair["pictures"] == "0" or f"{float(pair['theirs']):.2f}" in line


def test_no_library_is_an_error_that_says_where_to_look() -> None:
    with pytest.raises(ConfigError, match=r"none of missing is installed here; bench/README\.md"):
        installed(("missing",))


# --- the libraries themselves

HERE = [name for name in ("deepinv", "azula") if find_spec(name)]


@pytest.mark.skipif(not HERE, reason="neither deepinv nor azula is installed")
@pytest.mark.filterwarnings("default")  # theirs are their own
@pytest.mark.parametrize("text", ["mask:box=6", "gaussian-blur:std=1", "bicubic:factor=4"])
def test_every_real_sampler_runs_at_the_calls_asked_for(text: str) -> None:
    operator = parse(text).build((3, SIZE, SIZE))
    truth = PRIOR.codec.decode(PRIOR.color(noisy())).float()
    problem = Problem(operator(truth), operator, 0.05)
    for there in installed(tuple(HERE)):
        if there.name == "RePaint":
            continue
        network = Network(PRIOR)
        with counting(1) as account:
            picture = there.sample(network, problem, 4)
        assert picture.shape == truth.shape, there.name
        assert account.nfe.tolist() == [4], there.name


@pytest.mark.skipif(not HERE, reason="neither deepinv nor azula is installed")
@pytest.mark.filterwarnings("default")  # theirs are their own
def test_what_a_real_library_cannot_say_it_says() -> None:
    operator = parse("hdr").build((3, SIZE, SIZE))
    problem = Problem(torch.rand(1, 3, SIZE, SIZE), operator, 0.05)
    for there in installed(tuple(HERE)):
        if there.name != "DPS":
            with pytest.raises(Inexpressible):
                there.sample(Network(PRIOR), problem, 2)


def test_the_exact_study_knows_the_exact_posterior() -> None:
    def exactly(network: Network, problem: Problem, nfe: int) -> Tensor:
        prior, one = network.twin, dataclasses.replace(problem, y=problem.y[:1].double())
        drawn = posterior(prior, one).sample(len(problem.y), torch.Generator().manual_seed(5))  # type: ignore[arg-type]
        return network.codec.decode(drawn)

    def broken(network: Network, problem: Problem, nfe: int) -> Tensor:
        raise ZeroDivisionError("by nothing")

    case = next(iter(exact.cases(64, SIZE)))
    foreign = [peer("exactly", exactly, "diffpir"), peer("broken", broken, "diffpir")]
    lines = {line.method: line for line in exact.lines(case, foreign)}
    assert list(lines) == ["posterior", "exactly", "broken", "diffpir"]
    for name in ("posterior", "exactly"):
        assert lines[name].spread == pytest.approx(1, abs=0.05)
        assert lines[name].mean == pytest.approx(lines["posterior"].mean, abs=0.5)
    assert lines["broken"].error == "ZeroDivisionError: by nothing" and lines["broken"].one is None
    # A sample's error is the mean's and the spread's: 10 log10 2 = 3 dB above the mean's where both are alike.
    assert lines["posterior"].mean > lines["posterior"].one + 2  # type: ignore[operator]


def test_pair_columns_are_in_the_order_of_the_row_head() -> None:
    assert list(Pair.__annotations__)[:7] == ["task", "noise", "prior", "library", "method", "pair", "same_paper"]
