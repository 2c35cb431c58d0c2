"""`python -m pellucid.bench.retrieval`: what a collection of millions costs."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from pellucid.bench import provenance
from pellucid.bench.retrieval.clustered import Clustered
from pellucid.images.atomic import replacing

RESULTS = Path("bench/results/adir/retrieval")
PAGE = Path("docs/retrieval.md")

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


@app.callback()
def group() -> None:
    """What a collection of millions costs."""


@app.command()
def scale(
    out: Annotated[Path, typer.Argument(help="A JSON file; a study of the same setting is replaced in it.")] = RESULTS
    / "scale.json",
    rows: Annotated[int, typer.Option(help="Vectors.")] = 1_700_000,
    dimension: Annotated[int, typer.Option(help="Of them.")] = 512,
    half: Annotated[bool, typer.Option("--half", help="Store float16.")] = False,
    kind: Annotated[list[str] | None, typer.Option(help="Of index; repeatable.")] = None,
    queries: Annotated[int, typer.Option(help="Of each kind.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the generator.")] = 0,
    folder: Annotated[Path, typer.Option(help="For the table; removed afterwards.")] = Path("runs/adir-scale"),
    state: Annotated[str, typer.Option(help="What else the machine was doing, for the record.")] = "",
) -> None:
    """Writes, indexes and asks a table of clustered vectors."""
    from pellucid.bench.retrieval.measuring import study

    began = time.perf_counter()

    def say(text: str) -> None:
        print(f"[{time.perf_counter() - began:6.0f} s] {text}", flush=True)

    name = f"{rows}-{dimension}-{'half' if half else 'single'}"
    found = study(
        folder / name,
        rows,
        Clustered(dimension, seed=seed),
        tuple(kind or ["IVF_RQ"]),
        say,
        half=half,
        queries=queries,
    )
    found |= {
        "command": "python -m pellucid.bench.retrieval " + shlex.join(sys.argv[1:]),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": [round(x, 2) for x in os.getloadavg()],
        "state": state,
        "machine": provenance.machine("cpu"),
        "versions": provenance.versions() | {"lancedb": version("lancedb")},
        "commit": provenance.commit(),
        "when": provenance.now(),
    }
    _keep(out, found, ("rows", "dimension", "storage"))


@app.command()
def likeness(
    photographs: Annotated[Path, typer.Argument(help="A folder of them.")] = Path("../shared/photos/train"),
    out: Annotated[Path, typer.Option(help="A JSON file.")] = RESULTS / "likeness.json",
) -> None:
    """Compares the generator's vectors with embeddings of crops of photographs."""
    from pellucid.bench.retrieval.likeness import of_generator, of_photographs
    from pellucid.retrieval import embedder

    embed = embedder("effnet")
    count, real = of_photographs(photographs, embed)
    found = {"photographs": real, "generator": of_generator(count, embed.dimension), "crops": count}
    found |= {"folder": str(photographs), "embedder": embed.name, "about": Clustered(embed.dimension).about()}
    _write(out, found)


@app.command()
def copies(
    photographs: Annotated[Path, typer.Argument(help="A folder of them.")] = Path("../shared/photos/train"),
    out: Annotated[Path, typer.Option(help="A JSON file.")] = RESULTS / "copies.json",
) -> None:
    """Which changed pictures are taken for copies, and which different ones wrongly."""
    from pellucid.bench.retrieval.copies import study
    from pellucid.retrieval import embedder

    _write(out, study(photographs, embedder("effnet")))


@app.command()
def appending(
    out: Annotated[Path, typer.Argument(help="A JSON file.")] = RESULTS / "appending.json",
    rows: Annotated[int, typer.Option(help="Of the table.")] = 1_700_000,
    folder: Annotated[Path, typer.Option(help="For the table; removed afterwards.")] = Path("runs/adir-appending"),
) -> None:
    """What a version costs that is added to a table of millions."""
    from pellucid.bench.retrieval.appending import study

    _write(out, study(folder, rows))


@app.command()
def page(
    path: Annotated[Path, typer.Argument(help="The page.")] = PAGE,
    results: Annotated[Path, typer.Option(help="Where the result files are.")] = RESULTS,
) -> None:
    """Writes the tables of the page anew."""
    from pellucid.bench.retrieval.page import written

    text = written(path.read_text(), results)
    with replacing(path) as partial:
        partial.write_text(text)


def _write(out: Path, found: dict[str, Any]) -> None:
    found |= {
        "command": "python -m pellucid.bench.retrieval " + shlex.join(sys.argv[1:]),
        "machine": provenance.machine("cpu"),
        "versions": provenance.versions() | {"lancedb": version("lancedb")},
        "commit": provenance.commit(),
        "when": provenance.now(),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as partial:
        partial.write_text(json.dumps(found, indent=1) + "\n")


def _keep(out: Path, found: dict[str, object], same: tuple[str, ...]) -> None:
    studies = json.loads(out.read_text()) if out.exists() else []
    studies = [s for s in studies if any(s[key] != found[key] for key in same)]
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as partial:
        partial.write_text(json.dumps([*studies, found], indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    app()
