"""Whether what is in a folder was prepared, scored and kept as a plan asks: rows of two kinds make no table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pellucid.bench import scores
from pellucid.bench.data import Image
from pellucid.bench.plan import Plan
from pellucid.errors import ConfigError


def require_alike(folder: Path, rows: Iterable[Mapping[str, Any]], plan: Plan, images: Sequence[Image]) -> None:
    """Refuses a folder whose rows another plan would have to make anew, although their keys are the same.

    A row's key says what was reconstructed, from what, and how; not by which metrics it was scored, nor what was kept
    beside it. A folder has one answer to that.

    Args:
        folder: of the results.
        rows: in it; none, and everything is allowed.
        plan: what shall be run.
        images: its pictures.

    Raises:
        ConfigError: the folder has other metrics, another protocol, crop, ...; or other pictures of the same names.
    """
    there = {row["image"]: row["image_sha256"] for row in rows}
    if not there:
        return
    remedy = f"{folder} holds results already: take another folder (-o)"
    try:
        before = json.loads((folder / "plan.json").read_text(encoding="utf-8"))["plan"]
        old = _kind(before)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{remedy}; there is no plan.json that says how they were scored ({error})") from error
    new = _kind(plan.resolved())
    if other := [
        f"{name} = {_shown(old[name])} there, {_shown(new[name])} in the plan" for name in new if old[name] != new[name]
    ]:
        raise ConfigError(f"{remedy} or keep to its settings; {'; '.join(other)}")
    if twice := [image.name for image in images if there.get(image.name, image.sha256) != image.sha256]:
        raise ConfigError(f"{remedy}; they are of other pictures named {', '.join(twice[:5])}")


def _kind(plan: Mapping[str, Any]) -> dict[str, Any]:
    """What all rows of a folder share, by the name that the plan has for it."""
    data = plan["data"]
    return {
        "metrics": sorted({scores.find(name).name for name in plan["metrics"]}),
        "protocol": dict(plan["protocol"]),
        "trajectory": sorted(plan["trajectory"]),
        "save": plan["save"],
        "features": plan["features"],
        "[data] size": data["size"],
        "[data] crop": data["crop"] if data["size"] else "none",
        "[data] colour": data["colour"],
    }


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
