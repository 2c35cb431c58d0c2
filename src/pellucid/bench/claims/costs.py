"""`python -m pellucid.bench.claims.costs`: what hard consistency costs in time and in memory, and the page on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pellucid import zoo
from pellucid.bench.claims import hard as measuring_time
from pellucid.bench.claims import memory as measuring_memory
from pellucid.bench.plan import Data

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)

RESULTS = Path(__file__).resolve().parents[4] / "bench/results/resample"


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


if __name__ == "__main__":
    app()
