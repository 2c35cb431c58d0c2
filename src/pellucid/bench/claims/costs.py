"""`python -m pellucid.bench.claims.costs`: what hard consistency costs in time and in memory, and the page on it."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from pellucid import zoo
from pellucid.bench.claims import cost_page
from pellucid.bench.claims import hard as measuring_time
from pellucid.bench.claims import memory as measuring_memory
from pellucid.bench.claims.results import MissingResults
from pellucid.bench.plan import Data
from pellucid.cli.console import say
from pellucid.images.atomic import replacing

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)

ROOT = Path(__file__).resolve().parents[4]
RESULTS, PAGE = ROOT / "bench/results/resample", ROOT / "docs/hard-consistency.md"


@app.command()
def hard(
    out: Annotated[Path, typer.Argument(help="A JSON file; a run that was cut short goes on in it.")] = RESULTS
    / "hard.json",
    folder: Annotated[Path, typer.Option(help="Of pictures.")] = Path("../shared/photos/eval"),
    pictures: Annotated[int, typer.Option(help="The first so many, in one batch.")] = 2,
    size: Annotated[int, typer.Option(help="Side in pixels, after the largest square was reduced.")] = 128,
    prior: Annotated[str, typer.Option(help="Of latents: a name or a folder.")] = "photo-latent",
    precision: Annotated[str, typer.Option(help="float32 or bfloat16, for all.")] = "bfloat16",
    task: Annotated[list[str] | None, typer.Option(help="sr4 or mask70; both if not given.")] = None,
) -> None:
    """Decoder passes, seconds, memory and PSNR of ReSample as released, as in the paper, and as here."""
    data = Data(folder, size=size, crop="square", count=pictures)
    setup = measuring_time.setup_of(prior, precision)
    loaded = zoo.load(prior, "cpu", precision)
    measuring_time.study(loaded, setup, data, out, task or tuple(measuring_time.TASKS))


@app.command()
def memory(
    out: Annotated[Path, typer.Argument(help="A JSON file; a run that was cut short goes on in it.")] = RESULTS
    / "memory.json",
    size: Annotated[int, typer.Option(help="Side of the picture in pixels.")] = 256,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16, for all.")] = "float32",
    model: Annotated[list[str] | None, typer.Option(help="ldm-vq-4, adm-ffhq, photo-latent; all if not given.")] = None,
) -> None:
    """Peak memory of ReSample, PSLD, Latent-DPS and DPS, each in a fresh process."""
    measuring_memory.study(out, size, precision, model or tuple(measuring_memory.MODELS))


@app.command()
def page(
    check: Annotated[bool, typer.Option("--check", help="Say whether it is up to date; write nothing.")] = False,
) -> None:
    """Write docs/hard-consistency.md and its picture from the result files."""
    made = cost_page.text(RESULTS)
    stale = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != made
    if not check:
        with suppress(MissingResults):
            cost_page.draw(RESULTS, PAGE.parent / "images/hard-consistency.png")
        with replacing(PAGE) as partial:
            partial.write_text(made, encoding="utf-8")
    say(f"{'wrote' if not check else 'out of date:' if stale else 'up to date:'} {PAGE}")
    sys.exit(int(check and stale))


if __name__ == "__main__":
    app()
