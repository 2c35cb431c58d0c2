"""What folders of results hold, put together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pellucid.bench import scores
from pellucid.bench.store import Store, require_arrow
from pellucid.errors import ConfigError
from pellucid.metrics import METRICS, Metric, Protocol
from pellucid.metrics.base import get as metric_of

Row = dict[str, Any]
ONE = ("prior", "task", "noise", "label", "image", "seed")  # what tells the rows of a table apart
COSTS = ("seconds", "memory_mib", "nfe", "vjp")


@dataclass(frozen=True)
class Group:
    """What is compared in one table: one prior, or methods with a prior each, on one task at one noise level."""

    prior: str
    task: str
    noise: str
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """For headings: the operator with what is different from picture to picture left out."""
        row = self.rows[0]
        told = f", told {row['operator_told']}" if row["operator_told"] != row["operator"] else ""
        jpeg = f", JPEG {row['jpeg']}" if row.get("jpeg") else ""
        return f"{self.task}: {row['operator']}, noise {self.noise}{told}{jpeg}"

    @property
    def name(self) -> str:
        """For files."""
        text = f"{self.prior}-{self.task}-{self.noise}"
        return "".join(c if c.isalnum() or c in ".-" else "_" for c in text).strip("_")

    @property
    def labels(self) -> list[str]:
        """The methods, in the order of the plan."""
        return list(dict.fromkeys(row["label"] for row in self.rows))

    def of(self, label: str) -> list[Row]:
        """The rows of a method that did not fail."""
        return [row for row in self.rows if row["label"] == label and row["status"] == "ok"]

    def failed(self, label: str) -> list[Row]:
        """The rows of a method that failed."""
        return [row for row in self.rows if row["label"] == label and row["status"] != "ok"]

    def values(self, label: str, column: str) -> dict[str, float]:
        """By picture, the mean over the seeds."""
        found: dict[str, list[float]] = {}
        for row in self.of(label):
            if row.get(column) is not None:
                found.setdefault(row["image"], []).append(float(row[column]))
        return {image: sum(values) / len(values) for image, values in sorted(found.items())}


@dataclass(frozen=True)
class Results:
    """Everything in some folders.

    Attributes:
        folders: where it is from.
        plans: the records beside the results.
        groups: what is compared with each other: rows that the plans ask for; `folder` is their folder's place.
        steps: of the trajectories, by key.
        stores: of the folders.
    """

    folders: tuple[Path, ...]
    plans: tuple[dict[str, Any], ...]
    groups: tuple[Group, ...]
    steps: dict[str, list[Row]]
    stores: tuple[Store, ...]

    @property
    def metrics(self) -> list[Metric]:
        """Those of single pictures that the plans ask for, in their order."""
        return [m for m in self._asked() if m.per_image]

    @property
    def set_metrics(self) -> list[Metric]:
        """Those of whole sets."""
        return [m for m in self._asked() if not m.per_image]

    def _asked(self) -> list[Metric]:
        names = dict.fromkeys(scores.find(name).name for plan in self.plans for name in plan["plan"]["metrics"])
        return [metric_of(name) for name in names if name not in scores.ALWAYS]

    @property
    def protocol(self) -> Protocol:
        """How pictures were prepared."""
        return Protocol(**self.plans[0]["plan"]["protocol"])

    @property
    def title(self) -> str:
        """Of the page."""
        return "; ".join(plan["plan"]["title"] or Path(plan["source"]).stem for plan in self.plans)

    def reference(self, wanted: str | None, group: Group) -> str:
        """The method that the others are compared with: as asked for, as in the plan, or the first."""
        choices = [wanted, *(plan["plan"]["reference"] for plan in self.plans)]
        return next((label for label in choices if label in group.labels), group.labels[0])

    def published(self, task: str, label: str) -> dict[str, float]:
        """A paper's numbers."""
        found: dict[str, float] = {}
        for plan in self.plans:
            rows = plan["plan"]["published"].get(task, {})
            numbers = rows.get(label, {}) if isinstance(rows, dict) else {}
            found |= {scores.find(name).name: float(value) for name, value in numbers.items()}
        return found

    @property
    def sources(self) -> list[str]:
        """Where the published numbers are from."""
        return [
            str(plan["plan"]["published"]["source"]) for plan in self.plans if "source" in plan["plan"]["published"]
        ]

    def picture(self, row: Row, name: str) -> Path | None:
        """The file of a picture that was saved beside a row."""
        path = self.stores[row["folder"]].pictures / name
        return path if path.is_file() else None


def load(folders: Sequence[Path]) -> Results:
    """Reads folders of `pellucid bench`.

    Raises:
        ConfigError: one holds no results, they were measured by different protocols, or a method has two rows where one
            belongs.
    """
    require_arrow()
    stores = tuple(Store(folder) for folder in folders)
    plans = tuple(_plan(folder) for folder in folders)
    if any(plan["plan"]["protocol"] != plans[0]["plan"]["protocol"] for plan in plans):
        raise ConfigError("these results were measured by different protocols; report them one by one")
    rows = _unique(
        row
        for number, (store, plan) in enumerate(zip(stores, plans, strict=True))
        for row in _rows(store, plan, number)
    )
    _require_single(rows, folders)
    if not rows:
        raise ConfigError(f"there are no results in {', '.join(map(str, folders))}")
    steps: dict[str, list[Row]] = {}
    for store in stores:
        for step in store.read("steps"):
            steps.setdefault(step["key"], []).append(step)
    return Results(tuple(folders), plans, tuple(_groups(rows, plans)), steps, stores)


def _plan(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "plan.json").read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder} is no folder of results: {error}") from error


def _rows(store: Store, plan: dict[str, Any], number: int) -> Iterable[Row]:
    """The rows that the folder's plan asks for; a folder of an earlier version does not say which, and gives all."""
    keys = set(plan["keys"]) if "keys" in plan else None
    return ({**row, "folder": number} for row in store.read() if keys is None or row["key"] in keys)


def _require_single(rows: Iterable[Row], folders: Sequence[Path]) -> None:
    """Refuses to average different settings as if they were seeds."""
    seen: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        other = seen.setdefault(tuple(row[name] for name in ONE), row)
        if other is not row:
            where = " and ".join(dict.fromkeys(str(folders[r["folder"]]) for r in (other, row)))
            raise ConfigError(
                f"{where}: {row['label']} has two results with different settings for {row['image']}, {row['task']}; "
                "give the methods labels of their own, run the plan again in a folder that an earlier version made, or "
                "report the folders one by one"
            )


def _unique(rows: Iterable[Row]) -> list[Row]:
    return list({row["key"]: row for row in rows}.values())


def _groups(rows: list[Row], plans: Sequence[dict[str, Any]]) -> Iterable[Group]:
    """Groups in the order of the plans' tasks, rows in the order of their methods."""
    tasks = list(dict.fromkeys(task["name"] for plan in plans for task in plan["plan"]["task"]))
    names = [method["label"] or method["name"] for plan in plans for method in plan["plan"]["method"]]
    order = {name: place for place, name in reversed(list(enumerate(names)))}

    def place(row: Row) -> tuple[Any, ...]:
        by_name = order.get(row["label"], order.get(row["family"], order.get(row["method"], len(order))))
        return by_name, row["nfe_asked"] or 0, row["label"], row["image"], row["seed"]

    paired = [_paired(plan["plan"]) for plan in plans]
    of = {row["key"]: paired[row["folder"]] or row["prior"] for row in rows}
    keys = dict.fromkeys((of[row["key"]], row["task"], row["noise"]) for row in rows)
    for prior, task, noise in sorted(keys, key=lambda k: (k[0], tasks.index(k[1]) if k[1] in tasks else 99, k[2])):
        mine = [row for row in rows if (of[row["key"]], row["task"], row["noise"]) == (prior, task, noise)]
        yield Group(prior, task, noise, tuple(sorted(mine, key=place)))


def _paired(plan: dict[str, Any]) -> str:
    """The priors of a plan that gives every method one of its own, whose rows belong into one table; "" for others."""
    priors = [method.get("priors", []) for method in plan["method"]]
    return " and ".join(dict.fromkeys(p for (p,) in priors)) if all(len(p) == 1 for p in priors) else ""


RESIDUAL = METRICS["residual_rms"]
