"""Greedy scheduling against brute force, what its files may hold, and the published schedule."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate, combinations, pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pellucid.errors import ConfigError
from pellucid.operators import BlurFamily, Operator, exposure, family
from pellucid.operators.families.schedule_file import MAX_BYTES, Schedule
from pellucid.operators.families.scheduling import Chosen, greedy, schedule
from pellucid.operators.schedules import DIRAC_BLUR

OURS = Path(__file__).parents[2] / "papers" / "dirac" / "schedule-blur.json"
Distance = Callable[[int, int], float]


def along(f: Sequence[float]) -> Distance:
    return lambda i, j: abs(f[j] - f[i])


def rising(n: int, seed: int) -> list[float]:
    draw = random.Random(seed)
    f = [0.0]
    for _ in range(n - 1):
        f.append(f[-1] + draw.expovariate(1.0) ** 2)
    return f


def widest(places: Sequence[int], d: Distance) -> float:
    return max(d(i, j) for i, j in pairwise(places))


def least_widest(n: int, d: Distance, budget: int) -> float:
    """The optimum of eq. 24, by trying everything."""
    return min(widest((0, *between, n - 1), d) for between in combinations(range(1, n - 1), budget))


def written_out(n: int, d: Distance, budget: int) -> list[int]:
    """Algorithm 2 word for word, with every distance computed anew."""
    chosen = [0, n - 1]
    for _ in range(budget):
        i = max(
            (i for i in range(len(chosen) - 1) if chosen[i + 1] - chosen[i] > 1),
            key=lambda i: (d(chosen[i], chosen[i + 1]), -i),
        )
        a, b = chosen[i], chosen[i + 1]
        best = min(range(a + 1, b), key=lambda c: (max(d(a, c), d(c, b)), c))
        chosen = sorted([*chosen, best])
    return chosen


@pytest.mark.parametrize("seed", range(8))
def test_one_point_is_the_best_one(seed: int) -> None:
    draw = random.Random(seed)
    table = {(i, j): draw.random() for i in range(12) for j in range(i + 1, 12)}
    d: Distance = lambda i, j: table[i, j]  # noqa: E731
    assert max(greedy(12, d, 1).gaps) == least_widest(12, d, 1)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("budget", [2, 3, 4])
def test_it_is_within_twice_the_optimum_on_a_line(seed: int, budget: int) -> None:
    """Halving what is left cannot be worse than that, but for the pitch of the candidates."""
    f = rising(12, seed)
    d, pitch = along(f), max(b - a for a, b in pairwise(f))
    found, best = max(greedy(12, d, budget).gaps), least_widest(12, d, budget)
    assert best <= found <= 2 * best + pitch


@pytest.mark.parametrize("budget", [1, 3, 7, 15])
def test_it_is_optimal_where_halves_are_exact(budget: int) -> None:
    n = 65
    f = [(i / (n - 1)) for i in range(n)]
    found = greedy(n, along(f), budget)
    assert found.places == tuple(range(0, n, (n - 1) // (budget + 1)))
    assert max(found.gaps) == pytest.approx(1 / (budget + 1))


def test_points_are_dense_where_much_is_lost() -> None:
    f = [(i / 400) ** 2 for i in range(401)]
    found = greedy(401, along(f), 15)
    wanted = [round(400 * (k / 16) ** 0.5) for k in range(17)]
    assert max(abs(a - b) for a, b in zip(found.places, wanted, strict=True)) <= 2


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("search", ["all", "bisect"])
def test_it_is_the_algorithm_as_written(seed: int, search: str) -> None:
    d = along(rising(60, seed))
    found = greedy(60, d, 20, search="all" if search == "all" else "bisect")
    assert list(found.places) == written_out(60, d, 20)
    assert list(found.gaps) == [d(i, j) for i, j in pairwise(found.places)]


@pytest.mark.parametrize("seed", range(3))
def test_any_distance_goes_with_all_candidates_compared(seed: int) -> None:
    draw = random.Random(seed)
    table = {(i, j): draw.random() for i in range(30) for j in range(i + 1, 30)}
    d: Distance = lambda i, j: table[i, j]  # noqa: E731
    assert list(greedy(30, d, 28).places) == list(range(30))
    assert list(greedy(30, d, 9).places) == written_out(30, d, 9)


def test_every_distance_is_computed_once_and_bisection_needs_few() -> None:
    f, counts = rising(300, 1), {}
    results: dict[str, Chosen] = {}
    for search in ("all", "bisect"):
        asked: Counter[tuple[int, int]] = Counter()

        def d(i: int, j: int, asked: Counter[tuple[int, int]] = asked) -> float:
            assert i < j
            asked[i, j] += 1
            return abs(f[j] - f[i])

        results[search] = greedy(300, d, 30, search="all" if search == "all" else "bisect")
        assert set(asked.values()) == {1}
        assert results[search].distances == len(asked)
        counts[search] = len(asked)
    assert results["all"].places == results["bisect"].places
    assert counts["bisect"] < counts["all"] / 5


def test_ties_go_to_the_first() -> None:
    for _ in range(2):
        assert greedy(6, lambda i, j: 1.0, 2).places == (0, 1, 2, 5)
        assert greedy(7, lambda i, j: 0.0, 1, search="bisect").places == (0, 1, 6)


def test_it_tells_how_far_it_is() -> None:
    told: list[tuple[int, int]] = []
    found = greedy(20, along(rising(20, 0)), 5, told=lambda done, distances: told.append((done, distances)))
    assert [done for done, _ in told] == [1, 2, 3, 4, 5] and told[-1][1] == found.distances


@pytest.mark.parametrize(("n", "budget"), [(1, 0), (5, 4), (5, -1)])
def test_a_budget_that_cannot_be_spent_is_refused(n: int, budget: int) -> None:
    with pytest.raises(ConfigError, match="may be chosen"):
        greedy(n, lambda i, j: 1.0, budget)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0])
def test_what_is_no_distance_is_refused(bad: float) -> None:
    with pytest.raises(ConfigError, match="finite and at least 0"):
        greedy(5, lambda i, j: bad if (i, j) == (0, 2) else 1.0, 1)


def rms(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).square().flatten(1).mean(1).sqrt()


def test_a_light_that_fades_is_spaced_evenly_in_what_it_loses() -> None:
    """y = g x, and so the distance of two gains is their difference times the picture's own norm."""
    shape = (3, 4, 4)
    x = torch.rand(5, *shape, generator=torch.Generator().manual_seed(0))
    gains = [2.0 ** (-k / 50) for k in range(201)]  # from 1 to 1/16
    made: list[float] = []

    def darker(gain: float) -> Operator:
        made.append(gain)
        return exposure(shape, gain)

    points, chosen = schedule(darker, x, rms, gains, 7)
    even = torch.linspace(1, 1 / 16, 9)
    torch.testing.assert_close(torch.tensor(points), even, rtol=0, atol=0.01)
    norms = rms(x, 0 * x).mean()
    assert chosen.gaps[0] == pytest.approx(float(norms) * (points[0] - points[1]), rel=1e-5)
    batched, _ = schedule(darker, [x[:2], x[2:]], rms, gains, 7)
    assert batched == points
    assert not any(v.requires_grad for v in (x,)) and len(made) > 200


def test_no_pictures_make_no_schedule() -> None:
    with pytest.raises(ConfigError, match="at least one picture"):
        schedule(lambda g: exposure((1, 4, 4), g), [], rms, [1.0, 0.5], 0)


POINTS = (0.3, 0.5, 1.0, 2.0)


def test_a_file_is_read_back_and_makes_a_family(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    Schedule("blur", "std", POINTS, {"metric": "mse"}).write(path)
    assert list(tmp_path.iterdir()) == [path]
    read = Schedule.read(path)
    assert read.points == POINTS and read.about == {"metric": "mse"}
    made = family(f"blur:schedule={path}")
    own = made((1, 12, 12))
    assert isinstance(own, BlurFamily)
    t = torch.linspace(0, 1, 4, dtype=torch.float64)
    torch.testing.assert_close(own.std(t), torch.tensor(POINTS, dtype=torch.float64))
    assert float(own.std(torch.tensor(0.5, dtype=torch.float64))) == pytest.approx(0.75)
    path.unlink()
    assert made((3, 10, 10)).image_shape == (3, 10, 10)  # it is read once
    with pytest.raises(ConfigError, match="there is no schedule"):
        family(f"blur:schedule={path}")


def test_a_file_may_be_stretched(tmp_path: Path) -> None:
    Schedule("blur", "std", POINTS).write(tmp_path / "s.json")
    own = family(f"blur:schedule={tmp_path}/s.json,widest=3.7,narrowest=0.3")((1, 12, 12))
    assert isinstance(own, BlurFamily)
    torch.testing.assert_close(own.stds, torch.tensor([0.3, 0.7, 1.7, 3.7], dtype=torch.float64))


def test_the_named_schedules_are_as_they_were() -> None:
    greedy_, linear = (family(f"blur:schedule={name}")((1, 8, 8)) for name in ("greedy", "linear"))
    assert isinstance(greedy_, BlurFamily) and isinstance(linear, BlurFamily)
    torch.testing.assert_close(greedy_.stds, torch.tensor(DIRAC_BLUR, dtype=torch.float64), rtol=1e-15, atol=0)
    torch.testing.assert_close(linear.stds, torch.tensor([0.3, 3.0], dtype=torch.float64), rtol=1e-15, atol=0)
    with pytest.raises(ConfigError, match=r"greedy, linear or a \.json file"):
        family("blur:schedule=quick")


GOOD = {"format": "pellucid schedule 1", "family": "blur", "parameter": "std", "points": list(POINTS), "about": {}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot read"),
        ("[" * 100_000, "cannot read"),
        ("\x00\xff", "cannot read"),
        ("[]", "is no schedule"),
        (json.dumps(GOOD | {"format": "pellucid schedule 2"}), "is no schedule"),
        (json.dumps(GOOD | {"family": "hole"}), "not of the std of blur"),
        (json.dumps(GOOD | {"points": "0.3, 3"}), "not a list of numbers"),
        (json.dumps(GOOD | {"points": [0.3, "3"]}), "not a list of numbers"),
        (json.dumps(GOOD | {"points": [False, True]}), "not a list of numbers"),
        (json.dumps(GOOD | {"points": [0.3]}), "2 to 10000 points"),
        (json.dumps(GOOD | {"points": [0.3] * 20_000}), "2 to 10000 points"),
        (json.dumps(GOOD | {"points": [0.3, 2.0, 1.0]}), "never fall"),
        (json.dumps(GOOD | {"points": [1.0, 1.0]}), "must rise"),
        (json.dumps(GOOD | {"points": [-1.0, 1.0]}), "at least 0"),
        (json.dumps(GOOD | {"points": [0.3, float("nan")]}), "no number of JSON"),
        (json.dumps(GOOD | {"points": [0.3, float("inf")]}), "no number of JSON"),
        (json.dumps(GOOD).replace("2.0", "1e999"), "finite"),
        (json.dumps(GOOD).replace("2.0", "1" * 400), "too large"),
        (json.dumps(GOOD | {"about": "x" * MAX_BYTES}), "larger than"),
    ],
)
def test_a_file_that_is_no_schedule_is_one_clear_line(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=message) as caught:
        Schedule.read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_schedule_is_not_written_over_by_half(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    Schedule("blur", "std", POINTS).write(path)
    with pytest.raises(TypeError):
        Schedule("blur", "std", (0.1, 0.2), {"metric": object()}).write(path)
    assert Schedule.read(path).points == POINTS and list(tmp_path.iterdir()) == [path]


# What a greedy run on an even grid leaves behind, seen in the published schedule and in ours.


def in_pitches(stds: Sequence[float], candidates: int) -> Tensor:
    values = torch.tensor(stds, dtype=torch.float64)
    return (values - values[0]) / (values[-1] - values[0]) * (candidates - 1)


def undivided(stds: Sequence[float], candidates: int = 2000) -> list[int]:
    """The gaps of the last complete generation, in pitches: halves joined, read from the wide end.

    What is much narrower than the gap beside it is a half, and its other half comes next.
    """
    places = [round(float(p)) for p in in_pitches(stds, candidates)]
    left = [b - a for a, b in pairwise(places)]
    joined = [max(left)]
    while left:
        step = left.pop()
        if step < 0.72 * joined[-1] and left:
            step += left.pop()
        joined.append(step)
    return joined[:0:-1]


def test_the_published_schedule_is_on_an_even_grid_of_2000() -> None:
    """Values are published to 1e-4: of all grids of up to 4000 candidates only this one (and its halving) has them."""

    def off(candidates: int) -> float:
        places = in_pitches(DIRAC_BLUR, candidates)
        return float((places - places.round()).abs().max()) * 2.7 / (candidates - 1)

    assert [n for n in range(50, 4001) if off(n) <= 0.5001e-4] == [2000, 3999]


def test_the_published_schedule_is_a_tree_of_halvings() -> None:
    """101 gaps are 64 = 2^6 gaps, 37 of them halved: six generations complete, and 100 - 63 of the seventh."""
    gaps = undivided(DIRAC_BLUR)
    assert len(DIRAC_BLUR) == 102 and len(gaps) == 64 and sum(gaps) == 1999
    # Gaps of one generation lose alike, and so grow with the blur once a kernel's tails are more than rounding.
    assert gaps[5:] == sorted(gaps[5:]) and gaps[5] == 16 and gaps[-1] == 46


def test_ours_is_the_published_schedule_to_the_sixth_generation() -> None:
    """Made with other features and other pictures: LPIPS-VGG is not at hand. The criterion is the linear schedule."""
    ours = Schedule.read(OURS)
    assert ours.about["candidates"] == {"count": 2000, "first": 0.3, "last": 3.0, "spacing": "even"}
    assert ours.about["budget"] == 100 and len(ours.points) == len(DIRAC_BLUR)
    assert ours.about["metric"] == "effnet_distance" and ours.about["data"]["pictures"] == 6
    off = in_pitches(ours.points, 2000)
    assert float((off - off.round()).abs().max()) < 1e-6
    gaps = undivided(ours.points)
    assert len(gaps) == 64 and sum(gaps) == 1999
    even = torch.linspace(0, 1999, 65, dtype=torch.float64)
    published, found = (torch.tensor([0, *accumulate(undivided(s))]) for s in (DIRAC_BLUR, ours.points))
    pitch = 2.7 / 1999
    apart, from_even = ((other - published).abs() * pitch for other in (found, even))
    assert float(apart.max()) == pytest.approx(0.0621, abs=1e-4) and float(apart.mean()) == pytest.approx(
        0.0304, abs=1e-4
    )
    assert float(from_even.max()) > 5 * float(apart.max()) and float(from_even.mean()) > 6 * float(apart.mean())


def test_ours_is_nearer_to_the_published_schedule_than_an_even_one() -> None:
    """All 102 points: which gaps of the seventh generation are halved hangs on small differences of the distances."""
    published, found, even = (curve(stds) for stds in (DIRAC_BLUR, Schedule.read(OURS).points, (0.3, 3.0)))
    apart, from_even = ((other - published).abs() for other in (found, even))
    assert float(apart.max()) == pytest.approx(0.319, abs=2e-3) and float(apart.mean()) == pytest.approx(
        0.167, abs=2e-3
    )
    assert float(from_even.max()) == pytest.approx(0.637, abs=2e-3)
    assert float(from_even.mean()) == pytest.approx(0.375, abs=4e-3)


def curve(stds: Sequence[float], n: int = 1001) -> Tensor:
    """std(t) of the family on an even grid of t."""
    own = BlurFamily((1, 8, 8), stds, identity_below=0.0)
    return own.std(torch.linspace(0, 1, n, dtype=torch.float64))
