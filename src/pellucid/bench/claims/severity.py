"""`python -m pellucid.bench.claims.severity`: what severity encoders know and what Latent-DPS costs, and the page."""

from __future__ import annotations

import hashlib
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from pellucid import zoo
from pellucid.bench.claims import severity_cost as costing
from pellucid.bench.claims import severity_page
from pellucid.bench.claims import severity_plots as plots
from pellucid.bench.claims import severity_study as measuring
from pellucid.bench.claims.results import MissingResults
from pellucid.cli.console import say
from pellucid.images.atomic import replacing

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)

ROOT = Path(__file__).resolve().parents[4]
RESULTS, PAGE = ROOT / "bench/results/flash", ROOT / "docs/severity.md"
Out = Annotated[Path, typer.Argument(help="A JSON file; what it holds is not measured again.")]
Folder = Annotated[Path, typer.Option(help="Of held-out pictures.")]
Only = Annotated[list[str] | None, typer.Option(help="Measure this part alone; may be said again.")]
EVAL = Path("../shared/photos/eval")


@app.command()
def measure(out: Out = RESULTS / "severity.json", folder: Folder = EVAL, only: Only = None) -> None:
    """Predicted against true errors: errors, blur, opening, families, tuned; without encoders not there yet."""
    pictures = measuring.pictures_of(folder)
    measuring.study(out, about(folder, pictures), pictures, only or ())


@app.command()
def cost(
    out: Out = RESULTS / "severity.json",
    folder: Folder = EVAL,
    prior: Annotated[str, typer.Option(help="Of latents: a name or a folder.")] = "photo-latent",
    precision: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "bfloat16",
    only: Only = None,
) -> None:
    """Seconds of the parts of a step of Latent-DPS (split), and flash with less of it (quality); always anew."""
    pictures = measuring.pictures_of(folder)
    loaded = zoo.load(prior, "cpu", precision)
    costing.study(out, about(folder, pictures), pictures, loaded, tuple(only or ()))


@app.command()
def page(
    check: Annotated[bool, typer.Option("--check", help="Say whether it is up to date; write nothing.")] = False,
    folder: Folder = EVAL,
) -> None:
    """Write docs/severity.md and its pictures; that of the outliers needs the pictures of the study."""
    made = severity_page.text(RESULTS)
    stale = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != made
    if not check:
        for name, draw in plots.PLOTS.items():
            with suppress(MissingResults):
                draw(severity_page.runs(RESULTS), PAGE.parent / f"images/{name}.png")
        with suppress(MissingResults):
            crops = measuring.pictures_of(folder).crops if folder.is_dir() else {}
            plots.outliers(severity_page.runs(RESULTS), crops, PAGE.parent / "images/severity-outliers.jpg")
        with replacing(PAGE) as partial:
            partial.write_text(made, encoding="utf-8")
    say(f"{'wrote' if not check else 'out of date:' if stale else 'up to date:'} {PAGE}")
    sys.exit(int(check and stale))


def about(folder: Path, pictures: measuring.Pictures) -> dict[str, Any]:
    """What names the pictures of a study."""
    largest = pictures.crops[max(pictures.crops)]
    digest = hashlib.sha256(largest.contiguous().numpy().tobytes()).hexdigest()
    return {"folder": folder.name, "pictures": len(largest), "sizes": sorted(pictures.crops), "sha256": digest}


if __name__ == "__main__":
    app()
