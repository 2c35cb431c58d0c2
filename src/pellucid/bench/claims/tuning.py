"""The grids that settings were chosen on: a small table from the folders of `pellucid tune`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.bench.claims.results import save_table
from pellucid.bench.store import Store

METRIC = "effnet_distance"
COLUMNS = ("task", "method", "settings", "pictures", METRIC)


def collect(runs: Path, paper: str, out: Path) -> None:
    """Writes `out`/tuning.csv from the folders `runs`/PAPER-tune-*; nothing where there are none.

    Args:
        runs: folder of the studies.
        paper: its name.
        out: folder of the result files.
    """
    found = [line for folder in sorted(runs.glob(f"{paper}-tune-*")) for line in trials(Store(folder).read())]
    if found:
        save_table(out / "tuning.csv", found, COLUMNS)


def trials(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A line for all settings of a study: those options that differ in it, and the metric's mean over the pictures."""
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["status"] == "ok":
            groups.setdefault((row["task"], row["method"], row["options"]), []).append(row)
    options = {key: json.loads(key[2]) for key in groups}
    varied = sorted(
        {n for mine in options.values() for n in mine if len({str(o.get(n)) for o in options.values()}) > 1}
    )
    return [
        {
            "task": key[0],
            "method": key[1],
            "settings": " ".join(f"{name} {options[key][name]:g}" for name in varied),
            "pictures": len(group),
            METRIC: float(np.mean([row[METRIC] for row in group])),
        }
        for key, group in sorted(groups.items(), key=lambda item: [options[item[0]][name] for name in varied])
    ]
