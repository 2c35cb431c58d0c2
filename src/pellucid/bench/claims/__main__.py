"""`python -m pellucid.bench.claims`: the studies that no plan describes, the result files, the page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pellucid import zoo
from pellucid.bench.claims import adir_queries as querying
from pellucid.bench.claims import ceiling as encoding
from pellucid.bench.claims import collect as collecting
from pellucid.bench.claims import dirac_coverage as coverage
from pellucid.bench.claims import dirac_path as along
from pellucid.bench.claims import dirac_tables as tables
from pellucid.bench.claims import half as halving
from pellucid.bench.claims import inversion as inverting
from pellucid.bench.claims import page as paging
from pellucid.bench.claims import plots, tuning
from pellucid.bench.claims import slices as slicing
from pellucid.bench.claims import tiles as tiling
from pellucid.bench.claims import timing as taking_time
from pellucid.bench.claims.papers import PAPERS
from pellucid.bench.plan import Data
from pellucid.errors import UnknownNameError

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)

RUNS = (("ssd", 30), ("ddnm", 100))

Pictures = Annotated[Path, typer.Option(help="Folder of pictures.")]
Size = Annotated[int, typer.Option(help="Side in pixels, after the largest square was reduced.")]
Count = Annotated[int | None, typer.Option(help="The first so many; all if not given.")]
Prior = Annotated[str, typer.Option(help="Name or folder.")]
Precision = Annotated[str, typer.Option(help="As in a plan.")]
PHOTOS = Path("../shared/photos/eval")
SLICES = Path("../shared/ct/eval_other_patients.npz")


@app.command()
def inversion(
    out: Annotated[Path, typer.Argument(help="A CSV file; a killed run goes on in it.")],
    pictures: Pictures = PHOTOS,
    size: Size = 128,
    count: Count = None,
    prior: Prior = "photo",
    precision: Precision = "openvino",
) -> None:
    """S5: mean and spread of the noise that is predicted on the way up."""
    data = Data(pictures, size=size, crop="square", count=count)
    inverting.study(zoo.load(prior, "cpu", precision), data, out)


@app.command()
def timing(
    out: Annotated[Path, typer.Argument(help="A CSV file.")],
    pictures: Pictures = PHOTOS,
    size: Size = 128,
    count: Count = 6,
    prior: Prior = "photo",
    precision: Precision = "openvino",
) -> None:
    """S1: seconds of methods that take turns."""
    data = Data(pictures, size=size, crop="square", count=count)
    taking_time.study(zoo.load(prior, "cpu", precision), data, "bicubic:factor=4", RUNS, out)


@app.command()
def slices(
    out: Annotated[Path, typer.Argument(help="A folder.")],
    source: Annotated[Path, typer.Option(help="An .npz of slices in Hounsfield units.")] = SLICES,
    count: Annotated[int, typer.Option(help="Phantoms.")] = 6,
) -> None:
    """R4, R5: CT slices of other patients, and phantoms, as files that a plan reads."""
    slicing.study(source, out, count)


@app.command()
def half(
    out: Annotated[Path, typer.Argument(help="A folder.")],
    pictures: Pictures = PHOTOS,
) -> None:
    """D1 to D6: the pictures that no choice on Dirac's cards was made on."""
    halving.study(pictures, out)


@app.command()
def tiles(
    source: Annotated[Path, typer.Argument(help="A folder or list of pictures, or an .npz of slices.")],
    out: Annotated[Path, typer.Argument(help="A folder.")],
    size: Annotated[int, typer.Option(help="Side of a square in pixels.")] = 256,
    every: Annotated[int, typer.Option(help="Take every so manyth picture.")] = 1,
) -> None:
    """A1 to A6: squares of pictures, for collections and for tests."""
    print(f"{out}: {tiling.study(source, out, size, every)} squares")


@app.command()
def adir_queries(
    out: Annotated[Path, typer.Argument(help="A CSV file.")],
    pictures: Pictures = PHOTOS,
    size: Size = 128,
    count: Count = None,
    prior: Prior = "photo",
    precision: Precision = "bfloat16",
    index: Annotated[str, typer.Option(help="The collection.")] = "runs/adir-tiles.index",
) -> None:
    """A2: whether a collection is better searched by A^+ y, by a first reconstruction, or by both."""
    from pellucid.retrieval import Index

    data = Data(pictures, size=size, crop="centre", count=count)
    querying.study(zoo.load(prior, "cpu", precision), Index.open(index), data, out)


HALF = Path("runs/photos-half")
SCHEDULES = Path("papers/dirac")


@app.command()
def dirac_path(
    out: Annotated[Path, typer.Argument(help="A CSV file; a killed run goes on in it.")],
    pictures: Pictures = HALF,
    size: Size = 128,
    count: Count = None,
    precision: Precision = "bfloat16",
) -> None:
    """D1, D3: PSNR, feature distance and residual of the estimate along a run."""
    along.study(Data(pictures, size=size, crop="centre", count=count), out, precision)


@app.command()
def dirac_coverage(
    out: Annotated[Path, typer.Argument(help="A CSV file; a killed run goes on in it.")],
    pictures: Pictures = HALF,
    size: Size = 128,
    count: Count = 6,
    precision: Precision = "bfloat16",
) -> None:
    """Sixteen samples of each picture: whether they are as far apart as they are wrong."""
    coverage.study(Data(pictures, size=size, crop="centre", count=count), out, precision)


@app.command()
def dirac_tables(
    runs: Annotated[Path, typer.Option(help="Folder of the trainings.")] = Path("runs"),
    schedules: Annotated[Path, typer.Option(help="Folder of schedule-blur.json and schedule-hole.json.")] = SCHEDULES,
    out: Annotated[Path | None, typer.Option(help="Folder of the result files.")] = None,
) -> None:
    """D4, D7: how trainings began, and the greedy schedules, as result files."""
    folder = out or paging.RESULTS / "dirac"
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: schedules / f"schedule-{name}.json" for name in ("blur", "hole")}
    tables.schedules(files, folder / "dirac-schedules.csv")
    began = {"from photo": runs / "photo-dirac-blur", "from nothing": runs / "dirac-blur-scratch"}
    tables.beginnings(began, folder / "beginnings.csv")


@app.command()
def ceiling(
    out: Annotated[Path, typer.Argument(help="A CSV file.")],
    pictures: Pictures = PHOTOS,
    size: Size = 128,
    count: Count = 6,
    prior: Prior = "photo-vq",
) -> None:
    """R1: what an autoencoder makes of the true pictures."""
    encoding.study(prior, Data(pictures, size=size, crop="square", count=count), out)


@app.command()
def collect(
    paper: Annotated[str, typer.Argument(help="Its name: ssd, flash, dirac, resample, adir.")],
    runs: Annotated[Path, typer.Argument(help="Folder of the runs, named as their plans.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the result files.")] = None,
) -> None:
    """Small result files from finished runs."""
    known = {one.name: one for one in PAPERS}
    if paper not in known:
        raise UnknownNameError("paper", paper, known)
    folder = out or paging.RESULTS / paper
    collecting.collect(runs, folder, known[paper].plans, (*known[paper].studies, *known[paper].more))
    tuning.collect(runs, paper, folder)
    for plan, strip in ((plan, strip) for strips in known[paper].strips.values() for plan, strip in strips):
        if (runs / plan).is_dir():
            plots.strip(runs / plan, folder, strip)


@app.command()
def page(
    check: Annotated[bool, typer.Option("--check", help="Say whether it is up to date; write nothing.")] = False,
) -> None:
    """Write docs/reproduction.md and its pictures from the result files."""
    sys.exit(paging.write(check=check))


if __name__ == "__main__":
    app()
