"""Tables: mean and spread over the pictures, and the paired difference to a reference with its bootstrap interval."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pellucid.bench import scores
from pellucid.bench.report.results import Group, Results, Row
from pellucid.errors import PellucidError
from pellucid.images import read
from pellucid.metrics import Metric
from pellucid.metrics.frechet import FeatureSets
from pellucid.metrics.statistics import Summary, paired, summarise


@dataclass(frozen=True)
class Cell:
    """One method in one metric.

    Attributes:
        summary: over the pictures, each the mean over its seeds; None where there is nothing.
        difference: to the reference on the pictures that both have; None for the reference itself.
        value: of a metric of sets, the mean over the seeds.
        published: the paper's number.
        better: whether the difference's interval is on the better side of 0 (True), the worse (False), or holds 0; a
            residual may be too small as well as too large, and has no better side.
        best: whether it is the best mean of its column.
    """

    summary: Summary | None = None
    difference: Summary | None = None
    value: float | None = None
    published: float | None = None
    better: bool | None = None
    best: bool = False

    @property
    def mean(self) -> float | None:
        """The number that the cell is about."""
        return self.value if self.summary is None else self.summary.mean


@dataclass(frozen=True)
class Line:
    """One method."""

    label: str
    n: int
    seeds: int
    failed: int
    cells: dict[str, Cell]
    costs: dict[str, float | None]


@dataclass(frozen=True)
class Table:
    """All methods on one task.

    Attributes:
        group: what was compared.
        reference: the label.
        columns: (name, unit, better, decimals).
        lines: in the order of the plan.
        notes: what could not be computed, and why.
    """

    group: Group
    reference: str
    columns: list[tuple[str, str, str, int]]
    lines: list[Line]
    notes: list[str] = field(default_factory=list)


def tables(results: Results, reference: str | None = None) -> list[Table]:
    """A table for every group."""
    sets = _Sets(results)
    return [_table(results, group, results.reference(reference, group), sets) for group in results.groups]


def _table(results: Results, group: Group, reference: str, sets: _Sets) -> Table:
    kinds = [(m.name, m.unit, m.better) for m in results.metrics]
    kinds.append(("residual", "", "lower"))
    notes: list[str] = []
    columns: dict[str, dict[str, Cell]] = {}
    for name, _, better in kinds:
        columns[name] = {label: _cell(results, group, label, reference, name, better) for label in group.labels}
    for metric in results.set_metrics:
        kinds.append((metric.name, metric.unit, metric.better))
        columns[metric.name] = {label: sets.cell(group, label, metric, notes) for label in group.labels}
    lines = [_line(group, label, {name: column[label] for name, column in columns.items()}) for label in group.labels]
    return Table(
        group,
        reference,
        [(name, unit, better, decimals(columns[name].values(), unit)) for name, unit, better in kinds],
        _with_best(lines, kinds),
        list(dict.fromkeys(notes)),
    )


def _cell(results: Results, group: Group, label: str, reference: str, name: str, better: str) -> Cell:
    values, published = group.values(label, name), results.published(group.task, label).get(name)
    if not values:
        return Cell(published=published)
    summary, difference, verdict = summarise(list(values.values())), None, None
    other = group.values(reference, name)
    if label != reference and (both := sorted(values.keys() & other.keys())):
        difference = paired([values[i] for i in both], [other[i] for i in both])
        if name != "residual" and difference.n > 1 and not difference.low <= 0 <= difference.high:
            verdict = (difference.low > 0) == (better == "higher")
    return Cell(summary, difference, published=published, better=verdict)


def _line(group: Group, label: str, cells: dict[str, Cell]) -> Line:
    rows = group.of(label)
    costs = {name: _mean(rows, name) for name in ("nfe", "vjp", "seconds", "memory_mib")}
    return Line(
        label,
        len({row["image"] for row in rows}),
        len({row["seed"] for row in rows}),
        len(group.failed(label)),
        cells,
        costs,
    )


def _mean(rows: Sequence[Row], name: str) -> float | None:
    values = [float(row[name]) for row in rows if row.get(name) is not None]
    return sum(values) / len(values) if values else None


def _with_best(lines: list[Line], kinds: Sequence[tuple[str, str, str]]) -> list[Line]:
    for name, _, better in kinds:
        means = {line.label: line.cells[name].mean for line in lines}
        known = [mean for mean in means.values() if mean is not None]
        if name == "residual" or len(known) < 2:
            continue
        best = max(known) if better == "higher" else min(known)
        for line in lines:
            cell = line.cells[name]
            if cell.mean == best:
                line.cells[name] = Cell(cell.summary, cell.difference, cell.value, cell.published, cell.better, True)
    return lines


def decimals(cells: Iterable[Cell], unit: str) -> int:
    """How many digits after the point tell a column's numbers apart."""
    if unit == "dB":
        return 2
    largest = max((abs(cell.mean) for cell in cells if cell.mean is not None), default=0.0)
    return next((digits for digits, least in ((1, 100), (2, 10), (3, 0.1), (4, 0.001)) if largest >= least), 0)


def shown(value: float, digits: int, sign: str = "") -> str:
    """A number with so many digits after the point; 0 stands for a column of numbers that are near nothing."""
    return f"{value:{sign}.{digits}f}" if digits else f"{value:{sign}.0e}"


class _Sets:
    """Distances between sets, from stored features, else from the saved pictures."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.features: dict[tuple[int, str, str], Tensor] = {}
        for folder, store in enumerate(results.stores if results.set_metrics else ()):
            for row in store.read("features"):
                values = torch.frombuffer(bytearray(row["values"]), dtype=torch.float32).double()
                self.features[folder, row["key"], row["metric"]] = values.reshape(row["crops"], -1)

    def cell(self, group: Group, label: str, metric: Metric, notes: list[str]) -> Cell:
        published = self.results.published(group.task, label).get(metric.name)
        rows = group.of(label)
        try:
            seeds = sorted({row["seed"] for row in rows})
            values = [self._distance([row for row in rows if row["seed"] == seed], metric) for seed in seeds]
        except PellucidError as error:
            notes.append(f"{metric.name}: {error}")
            return Cell(published=published)
        if not values or any(value is None for value in values):
            notes.append(f"{metric.name}: neither features nor pictures were kept for all results")
            return Cell(published=published)
        return Cell(value=sum(v for v in values if v is not None) / len(values), published=published)

    def _distance(self, rows: Sequence[Row], metric: Metric) -> float | None:
        shared = scores.gathering(metric.name, self.results.protocol)
        if isinstance(shared, FeatureSets) and (kept := self._kept(rows, metric.name)) is not None:
            sets = shared.emptied()
            for own, true in kept:
                sets.add_features(own, true=False)
                sets.add_features(true, true=True)
            return sets.compute()
        gathered = scores.find(metric.name).accumulate(self.results.protocol)
        for row in rows:
            own_file = self.results.picture(row, f"{row['key']}.png")
            true_file = self.results.picture(row, f"truth-{row['image']}.png")
            if own_file is None or true_file is None:
                return None
            gathered.update(read(own_file).pixels[None], read(true_file).pixels[None])
        return gathered.compute()

    def _kept(self, rows: Sequence[Row], metric: str) -> list[tuple[Tensor, Tensor]] | None:
        """Features of every result and of its truth; None where they were not kept for all."""
        found = []
        for row in rows:
            keys = row["key"], f"truth-{row['image_sha256'][:24]}"
            own, true = (self.features.get((row["folder"], key, metric)) for key in keys)
            if own is None or true is None:
                return None
            found.append((own, true))
        return found
