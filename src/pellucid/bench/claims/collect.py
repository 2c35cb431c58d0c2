"""From folders of finished runs to the small result files that are committed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.bench.claims.results import save_table
from pellucid.bench.hashes import of_network
from pellucid.bench.priors import fingerprint
from pellucid.bench.run import save_json
from pellucid.bench.store import Store
from pellucid.errors import ConfigError
from pellucid.images import read
from pellucid.metrics.frechet import frechet_distance, moments
from pellucid.zoo import Card, find

WHERE = ("plan", "task", "label", "image")
NUMBERS = ("nfe", "psnr", "ssim", "effnet_distance", "residual", "detail", "seconds")
ADAPTED = ("adapt_steps", "adapt_seconds", "search_seconds", "nearest")
COLUMNS = (*WHERE, "seeds", *NUMBERS, "spread")
REPLICATES = 100


def collect(runs: Path, out: Path, plans: Sequence[str], studies: Sequence[str] = ()) -> None:
    """Writes the result files of the runs that are there.

    Args:
        runs: a folder of folders of `pellucid bench`, named as their plans; and the files of the studies.
        out: the folder of the result files.
        plans: which, in their order.
        studies: whose files are copied.

    Raises:
        ConfigError: a row of a run says that a method failed.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows, sets, records = [], [], {}
    for plan in plans:
        folder = runs / plan
        if not (folder / "plan.json").is_file():
            continue
        plan_json = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        # A folder may hold more than the plan: of a larger one that was cut short.
        names = {image["name"] for image in plan_json["images"]}
        tasks = {task["name"] for task in plan_json["plan"]["task"]}
        found = [row for row in Store(folder).read() if row["image"] in names and row["task"] in tasks]
        asked = set(plan_json.get("keys", (row["key"] for row in found)))
        found = [row for row in found if row["key"] in asked]
        if failed := [row for row in found if row["status"] != "ok"]:
            raise ConfigError(f"{folder}: {len(failed)} rows failed, the first with {failed[0]['error']}")
        whole = len(names) * len(plan_json["plan"].get("seeds", (0,)))
        found = [row for group in _groups(found).values() if len(group) == whole for row in group]
        found.sort(key=lambda row: (row["task"], row["label"], row["image"]))
        rows += [{**row, "plan": plan} for row in _over_seeds(found, folder / "pictures")]
        sets += _sets(plan, found, _features(folder))
        records[plan] = _record(plan_json, found)
    adapted = ADAPTED if any(row["adapt_steps"] != "" for row in rows) else ()
    save_table(out / "rows.csv", rows, (*COLUMNS, *adapted))
    save_table(out / "sets.csv", sets, ("plan", "task", "label", "frechet"))
    for name in studies:
        for suffix in (".csv", ".jpg"):
            if (runs / f"{name}{suffix}").is_file():
                shutil.copyfile(runs / f"{name}{suffix}", out / f"{name}{suffix}")
    save_json(out / "provenance.json", records)


def _over_seeds(rows: Sequence[dict[str, Any]], pictures: Path) -> list[dict[str, Any]]:
    """One row a picture: means over the seeds; `spread` is what the seeds differ by."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        group = groups.setdefault((row["task"], row["label"], row["image"]), [])
        group.append({**row, "detail": detail(pictures, row)})
    return [
        {name: row[name] for name in WHERE[1:] for row in group[:1]}
        | {name: _mean([row.get(name) for row in group]) for name in (*NUMBERS, *ADAPTED)}
        | {"seeds": len(group), "spread": spread([pictures / f"{row['key']}.png" for row in group])}
        for group in groups.values()
    ]


def _mean(values: Sequence[Any]) -> Any:
    """Of numbers; "" where there are none. A single number stays as it is."""
    if any(value in (None, "") for value in values):
        return ""
    return values[0] if len(values) == 1 else float(np.mean(values))


def spread(files: Sequence[Path]) -> float | str:
    """sqrt of the mean over pixels of the variance over pictures (n - 1); "" where fewer than two were kept."""
    if len(files) < 2 or not all(file.is_file() for file in files):
        return ""
    return float(torch.stack([read(file).pixels for file in files]).var(0).mean().sqrt())


def _groups(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Rows by task and method; of a run that is not finished, some lack pictures."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["label"]), []).append(row)
    return groups


def detail(pictures: Path, row: Mapping[str, Any]) -> float | str:
    """Mean absolute difference of neighbouring pixels, over the true picture's; "" where the pictures were not kept."""
    files = [pictures / f"{name}.png" for name in (row["key"], f"truth-{row['image']}")]
    if not all(file.is_file() for file in files):
        return ""
    slopes = [sum(float(read(file).pixels.diff(dim=dim).abs().mean()) for dim in (-2, -1)) for file in files]
    return slopes[0] / slopes[1]


def _record(plan: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What of plan.json a page needs."""
    data = plan["plan"]["data"]
    return {
        "source": plan["source"],
        "title": plan["plan"]["title"],
        "pictures": len(plan["images"]),
        "size": data["size"],
        "crop": data["crop"],
        "priors": plan["priors"],
        "weights": {name: _weights(name, digest) for name, digest in plan["priors"].items()},
        "networks": {name: _unchanged(name, digest) for name, digest in plan.get("networks", {}).items()},
        "precision": plan["precision"],
        "metrics": plan["metrics"],
        "tasks": {task["name"]: task["operator"] for task in plan["plan"]["task"]},
        "seconds": round(sum(row["seconds"] for row in rows)),
        "versions": plan["versions"],
        "commit": plan["commit"],
        "machine": plan["machine"],
        "written": plan["written"],
    }


def _unchanged(network: str, digest: str) -> str:
    """The hash of a network that a method named. Raises `ConfigError` where it is no longer the one of the run."""
    if of_network(find(network)) != digest:
        raise ConfigError(f"the network {network} is not the one that was run ({digest[:12]}...); run it again")
    return digest


def _weights(prior: str, digest: str) -> str:
    """sha256 of the weights. Raises `ConfigError` where the prior is no longer the one of the run."""
    if fingerprint(prior) != digest:
        raise ConfigError(f"the prior {prior} is not the one that was run ({digest[:12]}...)")
    return str(Card.read(find(prior)).data["sha256"])


def _features(folder: Path) -> dict[str, Tensor]:
    """Features by key, (crops, d)."""
    return {
        row["key"]: torch.from_numpy(np.frombuffer(row["values"], "<f4").astype(np.float64)).reshape(row["crops"], -1)
        for row in Store(folder).read("features")
    }


def _sets(plan: str, rows: Sequence[dict[str, Any]], features: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    made = []
    for (task, label), group in _groups(rows).items():
        if all(row["key"] in features for row in group):
            results = torch.stack([features[row["key"]] for row in group])
            truths = torch.stack([features[f"truth-{row['image_sha256'][:24]}"] for row in group])
            numbers = replicates(results, truths)
            made.append({"plan": plan, "task": task, "label": label, "frechet": " ".join(f"{v:.4g}" for v in numbers)})
    return made


def replicates(results: Tensor, truths: Tensor, count: int = REPLICATES, seed: int = 0) -> list[float]:
    """Fréchet distance of results and truths, both (pictures, crops, d), and of `count` resamples of the pictures.

    The resamples are the same for every method, so differences of replicates are those of one set of pictures. With
    pictures twice in it a resample has a smaller covariance and a larger distance than the set itself, in all methods
    alike: replicates serve for differences, not for the number's own error.
    """
    n = len(results)
    generator = np.random.default_rng(seed)
    choices = [np.arange(n), *(generator.integers(n, size=n) for _ in range(count))]
    return [frechet_distance(*moments(results[c].flatten(0, 1)), *moments(truths[c].flatten(0, 1))) for c in choices]
