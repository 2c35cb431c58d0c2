"""`pellucid report`: from folders of results to a page, its pictures, and tables for papers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pellucid.bench.report import figures, grids
from pellucid.bench.report.export import as_csv, as_latex
from pellucid.bench.report.page import page
from pellucid.bench.report.results import load
from pellucid.bench.report.tables import tables
from pellucid.errors import ConfigError
from pellucid.images.atomic import replacing

PAGE, CSV, LATEX = "report.html", "tables.csv", "tables.tex"


def report(folders: Sequence[Path], out: Path, *, reference: str | None = None, pictures: int = 2) -> Path:
    """Writes `report.html`, `tables.csv`, `tables.tex` and the PNGs into `out`; the page's path.

    Args:
        folders: of `pellucid bench`; several become one report.
        out: a folder, made if it is not there.
        reference: label of the method to compare with; the plan's if not given.
        pictures: how many pictures of each task are shown.

    Raises:
        ConfigError: a folder holds no results, no method has that label, or matplotlib is not installed.
    """
    figures.require_matplotlib()
    if pictures < 0:
        raise ConfigError(f"--pictures is a whole number from 0, not {pictures}")
    results = load(folders)
    known = list(dict.fromkeys(label for group in results.groups for label in group.labels))
    if reference is not None and reference not in known:
        raise ConfigError(f"no method has the label {reference!r}; there are {', '.join(known)}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write into {out}: {error.strerror or error}") from error
    found = tables(results, reference)
    drawn = [*figures.draw(results, found, out), *grids.draw(results, out, pictures)]
    for name, text in ((CSV, as_csv(found)), (LATEX, as_latex(found)), (PAGE, page(results, found, drawn, out))):
        with replacing(out / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return out / PAGE
