"""Which severities to put at evenly spaced times: the greedy scheduling of degradations."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from pellucid.errors import ConfigError
from pellucid.operators.base import Operator

Search = Literal["all", "bisect"]
KEPT = 64  # candidates whose degraded pictures are remembered


@dataclass(frozen=True)
class Chosen:
    """What was chosen of candidates 0, ..., n - 1.

    Attributes:
        places: rising, the first and the last candidate among them.
        gaps: the distances of neighbours, one fewer.
        distances: how many were computed, each once.
    """

    places: tuple[int, ...]
    gaps: tuple[float, ...]
    distances: int


class Distances:
    """d(i, j) of candidates i < j: computed when first asked for, kept, counted.

    Args:
        distance: any, not negative.
    """

    def __init__(self, distance: Callable[[int, int], float]) -> None:
        self.distance = distance
        self.known: dict[tuple[int, int], float] = {}

    def __call__(self, i: int, j: int) -> float:
        """Raises `ConfigError` where it is no distance: negative, infinite or NaN."""
        if (i, j) not in self.known:
            d = float(self.distance(i, j))
            if not 0 <= d < math.inf:
                raise ConfigError(f"the distance of the candidates {i} and {j} must be finite and at least 0, not {d}")
            self.known[i, j] = d
        return self.known[i, j]


def greedy(
    candidates: int,
    distance: Callable[[int, int], float],
    budget: int,
    *,
    search: Search = "all",
    told: Callable[[int, int], None] | None = None,
) -> Chosen:
    """Makes max_i d(t_i, t_{i+1}) of neighbours small, one point after the other.

    Begins with the two ends. `budget` times: of the widest gap (l, r), the first of several, takes the candidate c
    between that makes max(d(l, c), d(c, r)) least, the first of several. Fabian, Tinaz, Soltanolkotabi,
    DiracDiffusion, ICML 2024, eq. 24 and Algorithm 2.

    Args:
        candidates: n, in the order of their severity.
        distance: d(i, j) for i < j.
        budget: points between the ends.
        search: "all" compares every candidate between, as the algorithm says: about 2 n log2(budget) distances.
            "bisect" takes d(l, c) to rise and d(c, r) to fall with c, as they do where more is lost all the way, and
            needs about 2 budget log2(n / budget): the same result then.
        told: called after each point with (points so far, distances so far).

    Raises:
        ConfigError: fewer than two candidates, a budget below 0 or above what is between the ends, or no distance.
    """
    if candidates < 2 or not 0 <= budget <= candidates - 2:
        raise ConfigError(
            f"of {candidates} candidates, two are the ends and 0 to {max(candidates - 2, 0)} may be chosen between "
            f"them, not {budget}"
        )
    if search not in get_args(Search):
        raise ConfigError(f"the search is one of {', '.join(get_args(Search))}, not {search!r}")
    d = Distances(distance)
    find = _best if search == "all" else _best_by_bisection
    places = [0, candidates - 1]
    gaps = [d(0, candidates - 1)]
    for done in range(budget):
        # Neighbouring candidates have none between them, however far apart they are.
        open_gaps = [i for i in range(len(gaps)) if places[i + 1] - places[i] > 1]
        widest = max(open_gaps, key=lambda i: gaps[i])
        left, right = places[widest], places[widest + 1]
        c = find(d, left, right)
        places.insert(widest + 1, c)
        gaps[widest : widest + 1] = [d(left, c), d(c, right)]
        if told is not None:
            told(done + 1, len(d.known))
    return Chosen(tuple(places), tuple(gaps), len(d.known))


def _best(d: Distances, left: int, right: int) -> int:
    return min(range(left + 1, right), key=lambda c: max(d(left, c), d(c, right)))


def _best_by_bisection(d: Distances, left: int, right: int) -> int:
    low, high = left + 1, right - 1  # the first candidate that is at least as far from the left as from the right
    while low < high:
        middle = (low + high) // 2
        if d(left, middle) >= d(middle, right):
            high = middle
        else:
            low = middle + 1
    return min(range(max(low - 1, left + 1), low + 1), key=lambda c: max(d(left, c), d(c, right)))


def schedule(
    operator: Callable[[float], Operator],
    data: Tensor | Sequence[Tensor],
    metric: Callable[[Tensor, Tensor], Tensor],
    candidates: Sequence[float],
    budget: int,
    *,
    search: Search = "all",
    told: Callable[[int, int], None] | None = None,
) -> tuple[tuple[float, ...], Chosen]:
    """The parameters of a family at t = 0, 1 / (budget + 1), ..., 1, by `greedy`.

    d(i, j) is the mean over pictures x of metric(A_i(x), A_j(x)), without noise: METHODS 1.3 has LPIPS.

    Args:
        operator: of a parameter, for pictures of the data's shape.
        data: pictures (b, c, h, w) in [0, 1], or batches of them, of one shape (c, h, w).
        metric: two batches -> (b,), 0 for equal ones.
        candidates: parameters by rising severity.
        budget: points between the ends.
        search, told: see `greedy`.

    Returns:
        The parameters, budget + 2 of them, and what `greedy` says.

    Raises:
        ConfigError: there are no pictures, or see `greedy`.
    """
    batches = [data] if isinstance(data, Tensor) else list(data)
    total = sum(map(len, batches))
    if not total:
        raise ConfigError("a schedule needs at least one picture")
    made: OrderedDict[int, list[Tensor]] = OrderedDict()

    def degraded(i: int) -> list[Tensor]:
        if i not in made:
            a = operator(candidates[i])
            made[i] = [a(x) for x in batches]
            while len(made) > KEPT:
                made.popitem(last=False)
        made.move_to_end(i)
        return made[i]

    def distance(i: int, j: int) -> float:
        # The ends of a gap are asked for again and again, and so stay among those remembered.
        pairs = zip(degraded(i), degraded(j), strict=True)
        return sum(float(metric(x, y).double().sum()) for x, y in pairs) / total

    with torch.no_grad():
        chosen = greedy(len(candidates), distance, budget, search=search, told=told)
    return tuple(float(candidates[i]) for i in chosen.places), chosen
