"""`python -m pellucid.bench.throughput`: measures the ways, and writes the page."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from pellucid.bench import provenance
from pellucid.bench.throughput import page as paging
from pellucid.bench.throughput.measuring import measure
from pellucid.bench.throughput.ways import Work
from pellucid.images.atomic import replacing

RESULTS = Path("bench/results/throughput.json")
PAGE = Path("docs/throughput.md")

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


@app.command()
def run(
    out: Annotated[Path, typer.Argument(help="A JSON file; a study of the same settings is replaced in it.")] = RESULTS,
    prior: Annotated[str, typer.Option(help="Name or folder.")] = "photo",
    precision: Annotated[str, typer.Option(help="float32, bfloat16, or auto.")] = "float32",
    method: Annotated[str, typer.Option(help="By name; its start is replaced.")] = "ddnm",
    degradation: Annotated[str, typer.Option(help="mask: holes of its own in every picture; or blur.")] = "mask",
    images: Annotated[int, typer.Option(help="How many pictures.")] = 64,
    size: Annotated[int, typer.Option(help="Their side in pixels.")] = 64,
    batch: Annotated[int, typer.Option(help="Pictures of a full batch, and slots.")] = 8,
    steps: Annotated[int, typer.Option(help="Network calls of the whole schedule.")] = 40,
    rounds: Annotated[int, typer.Option(help="How often the ways take turns.")] = 3,
    device: Annotated[str, typer.Option(help="cpu, or cuda.")] = "cpu",
) -> None:
    """Measures all five ways and writes them down."""
    from pellucid import zoo

    work = Work.of(zoo.load(prior, device, precision), images, size, batch, steps, method, degradation, device)
    study: dict[str, Any] = {
        "prior": prior,
        "precision": precision,
        "method": method,
        "degradation": degradation,
        "images": images,
        "size": size,
        "batch": batch,
        "steps": steps,
        "device": device,
        "threads": torch.get_num_threads(),
        "calls": work.calls_needed(),
        "machine": provenance.machine(device),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "when": provenance.now(),
        "runs": [],
    }
    for one in measure(work, rounds):
        study["runs"].append(asdict(one))
        save(out, study)
        ratio, ratio_cpu = (one.nfe * a / batch / b for a, b in ((one.call, one.seconds), (one.call_cpu, one.cpu)))
        note = (
            f"{one.way}: {one.seconds:.1f} s, efficiency {ratio:.2f}; of the processor {one.cpu:.1f} s, {ratio_cpu:.2f}"
        )
        print(note, file=sys.stderr, flush=True)


def save(path: Path, study: dict[str, Any]) -> None:
    """Puts a study in the place of one of the same settings."""
    studies = json.loads(path.read_text())["studies"] if path.exists() else []
    studies = [old for old in studies if _settings(old) != _settings(study)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(json.dumps({"studies": [*studies, study]}, indent=1) + "\n")


def _settings(study: dict[str, Any]) -> tuple[Any, ...]:
    names = ("prior", "precision", "method", "degradation", "images", "size", "batch", "steps", "device", "threads")
    return tuple(study[name] for name in names)


@app.command()
def page(
    results: Annotated[Path, typer.Argument(help="What `run` wrote.")] = RESULTS,
    out: Annotated[Path, typer.Option(help="The page.")] = PAGE,
) -> None:
    """Writes the page."""
    with replacing(out) as partial:
        partial.write_text(paging.text(json.loads(results.read_text())["studies"]))


if __name__ == "__main__":
    app()
