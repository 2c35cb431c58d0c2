"""Two methods on the same pictures, as a part of a claim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pellucid.bench.claims.results import Floats, Results, of_replicates
from pellucid.bench.claims.verdict import Part, above, below, within
from pellucid.metrics.statistics import Summary, paired, summarise

Judge = Callable[[Summary], bool | None]


@dataclass(frozen=True)
class Pair:
    """Two methods of one plan on one task.

    Attributes:
        results: where the numbers are.
        plan, task: which.
        first, second: labels; differences are first - second.
    """

    results: Results
    plan: str
    task: str
    first: str
    second: str

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.task}: {self.first} against {self.second}"

    def both(self, column: str) -> tuple[Floats, Floats]:
        """A column of both, picture by picture."""
        first, second = (self.results.values(self.plan, self.task, m, column) for m in (self.first, self.second))
        return first, second

    def difference(self, column: str) -> Summary:
        """Mean of first - second, with its interval."""
        return paired(*self.both(column))

    def percent(self, column: str) -> Summary:
        """The difference in percent of the second's mean, which counts as exact."""
        first, second = self.both(column)
        return summarise(100 * (first - second) / second.mean())

    def sets(self) -> Summary:
        """Difference of the Fréchet distances in percent of the second's, over resampled pictures."""
        first, second = (self.results.frechet(self.plan, self.task, label) for label in (self.first, self.second))
        return of_replicates(100 * (first - second) / second)


def psnr_within(pair: Pair, bound: float) -> Part:
    """PSNR differs by at most `bound` dB."""
    number = pair.difference("psnr")
    return Part(f"{pair.name}: PSNR", f"within {bound:g} dB", decibel(number), within(number, bound))


def psnr_at_least(pair: Pair, bound: float) -> Part:
    """PSNR is larger by at least `bound` dB; a negative bound says by how much it may be smaller."""
    number = pair.difference("psnr")
    return Part(f"{pair.name}: PSNR", f"at least {bound:+g} dB", decibel(number), above(number, bound))


def distance_at_most(pair: Pair, bound: float) -> Part:
    """Feature distance is larger by at most `bound` percent; 0 and below say that it must be smaller."""
    number = pair.percent("effnet_distance")
    text = f"at most {bound:+g} %" if bound else "smaller"
    return Part(f"{pair.name}: feature distance", text, percent(number), below(number, bound))


def frechet_at_most(pair: Pair, bound: float) -> Part:
    """Fréchet distance of features is larger by at most `bound` percent."""
    number = pair.sets()
    text = f"at most {bound:+g} %" if bound else "smaller"
    return Part(f"{pair.name}: Fréchet distance", text, percent(number), below(number, bound))


def decibel(number: Summary) -> str:
    """-0.05 dB [-0.09, -0.01]."""
    return f"{number.mean:+.2f} dB [{number.low:+.2f}, {number.high:+.2f}]"


def percent(number: Summary) -> str:
    """+1.2 % [-0.3, +2.7]."""
    return f"{number.mean:+.1f} % [{number.low:+.1f}, {number.high:+.1f}]"


def plain(number: Summary, digits: int = 3) -> str:
    """0.123 [0.101, 0.145]."""
    return f"{number.mean:.{digits}g} [{number.low:.{digits}g}, {number.high:.{digits}g}]"
