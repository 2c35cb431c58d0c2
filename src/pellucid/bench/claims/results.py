"""The committed result files of a paper's claims: text, so that a change of a number is seen.

rows.csv          a line for every picture and method: means over the seeds
sets.csv          Fréchet distances of whole sets, with replicates under resampled pictures
inversion.csv     the predicted noise on the way up
timing.csv        seconds of methods that took turns
ceiling.csv       what an autoencoder makes of the true pictures
provenance.json   priors, pictures, versions, machine, commands
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ConfigError
from pellucid.images.atomic import replacing
from pellucid.metrics.statistics import Summary

Floats = NDArray[np.float64]
Table = list[dict[str, str]]


class MissingResults(ConfigError):
    """A claim's experiment was not run, or only in part."""


@dataclass(frozen=True)
class Results:
    """The result files in one folder.

    Args:
        folder: of the files; what is missing is an error only where it is asked for.
    """

    folder: Path

    def table(self, name: str) -> Table:
        """All lines of a file. Raises `MissingResults` where there is none."""
        path = self.folder / f"{name}.csv"
        if not path.is_file():
            raise MissingResults(f"{path} is not there")
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """What the results depend on; empty where there is none."""
        path = self.folder / "provenance.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    @cached_property
    def _rows(self) -> dict[tuple[str, str, str], dict[str, dict[str, str]]]:
        rows: dict[tuple[str, str, str], dict[str, dict[str, str]]] = {}
        for row in self.table("rows"):
            rows.setdefault((row["plan"], row["task"], row["label"]), {})[row["image"]] = row
        return rows

    @cached_property
    def _sets(self) -> dict[tuple[str, str, str], Floats]:
        return {
            (row["plan"], row["task"], row["label"]): np.array([float(v) for v in row["frechet"].split()])
            for row in self.table("sets")
        }

    def values(self, plan: str, task: str, label: str, column: str) -> Floats:
        """A column, in the order of the pictures' names. Raises `MissingResults`."""
        rows = self._rows.get((plan, task, label))
        if rows is None:
            raise MissingResults(f"{plan}: no rows of {label} on {task}")
        values = [rows[image].get(column, "") for image in sorted(rows)]
        if "" in values:
            raise MissingResults(f"{plan}: {column} of {label} on {task} was not measured")
        return np.array([float(value) for value in values])

    def has(self, plan: str, task: str, label: str, column: str) -> bool:
        """Whether the column was measured of that method."""
        try:
            return len(self.values(plan, task, label, column)) > 0
        except MissingResults:
            return False

    def has_sets(self, plan: str, task: str, label: str) -> bool:
        """Whether Fréchet distances were measured of that method."""
        try:
            return len(self.frechet(plan, task, label)) > 0
        except MissingResults:
            return False

    @property
    def groups(self) -> list[tuple[str, str, str]]:
        """(plan, task, label) of all rows. Raises `MissingResults`."""
        return list(self._rows)

    def labels(self, plan: str, task: str) -> list[str]:
        """Of the methods that ran."""
        return [label for p, t, label in self._rows if (p, t) == (plan, task)]

    def images(self, plan: str, task: str, label: str) -> list[str]:
        """The pictures' names, in their order. Raises `MissingResults`."""
        rows = self._rows.get((plan, task, label))
        if rows is None:
            raise MissingResults(f"{plan}: no rows of {label} on {task}")
        return sorted(rows)

    def frechet(self, plan: str, task: str, label: str) -> Floats:
        """The distance to the true pictures, and after it its replicates. Raises `MissingResults`."""
        found = self._sets.get((plan, task, label))
        if found is None:
            raise MissingResults(f"{plan}: no features of {label} on {task}")
        return found


def of_replicates(values: Floats) -> Summary:
    """A number and the interval of its replicates: the quantiles 2.5 % and 97.5 %."""
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return Summary(len(values) - 1, float(values[0]), float(values[1:].std(ddof=1)), float(low), float(high))


def save_table(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Writes beside, then renames; numbers with 5 significant digits."""
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([f"{v:.5g}" if isinstance(v := row[c], float) else v for c in columns])
