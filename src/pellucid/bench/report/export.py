"""Tables for papers and spreadsheets: LaTeX and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from pellucid.bench.report.tables import Cell, Table, shown
from pellucid.metrics.statistics import Summary

HEAD = ["prior", "task", "operator", "noise", "method", "metric", "unit", "better", "n", "seeds", "mean", "std"]
HEAD += ["low", "high", "reference", "difference", "difference_low", "difference_high", "published"]
SPECIAL = str.maketrans({c: f"\\{c}" for c in "_%&#$"} | {"+": "{+}", "~": r"\textasciitilde{}"})
ARROWS = {"higher": r"$\uparrow$", "lower": r"$\downarrow$"}


def as_csv(found: Sequence[Table]) -> str:
    """A line for every method and metric, with everything that is known of the number."""
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(HEAD)
    for t in found:
        start = [t.group.prior, t.group.task, t.group.rows[0]["operator"], t.group.noise]
        for line in t.lines:
            for name, unit, better, _ in t.columns:
                cell = line.cells[name]
                numbers = [
                    cell.mean,
                    *_spread(cell.summary),
                    t.reference,
                    *_difference(cell.difference),
                    cell.published,
                ]
                table.writerow([*start, line.label, name, unit, better, line.n, line.seeds, *map(_plain, numbers)])
            for name, value in line.costs.items():
                unit = {"seconds": "s", "memory_mib": "MiB"}.get(name, "")
                row = [name, unit, "lower", line.n, line.seeds, _plain(value), *[""] * 3, t.reference, *[""] * 4]
                table.writerow([*start, line.label, *row])
    return file.getvalue()


def _spread(summary: Summary | None) -> list[float | None]:
    return [None] * 3 if summary is None else [summary.std, summary.low, summary.high]


def _difference(summary: Summary | None) -> list[float | None]:
    return [None] * 3 if summary is None else [summary.mean, summary.low, summary.high]


def _plain(value: float | str | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.8g}"


def as_latex(found: Sequence[Table]) -> str:
    """A tabular for every table (needs booktabs), the best in bold; the caption says what the numbers are of."""
    return "\n".join(_tabular(t) for t in found)


def _tabular(t: Table) -> str:
    heads = [f"{name.replace('_', ' ')}{f' ({unit})' if unit else ''} {ARROWS[b]}" for name, unit, b, _ in t.columns]
    lines = [
        f"% {t.group.title}; prior {t.group.prior}; mean and standard deviation over pictures",
        r"\begin{tabular}{l" + "r" * (len(heads) + 2) + "}",
        r"\toprule",
        " & ".join(["method", *heads, "NFE", "s"]) + r" \\",
        r"\midrule",
    ]
    for line in t.lines:
        cells = [_latex(line.cells[name], digits) for name, _, _, digits in t.columns]
        nfe, seconds = (line.costs[name] for name in ("nfe", "seconds"))
        cost = ["--" if nfe is None else f"{nfe:.0f}", "--" if seconds is None else f"{seconds:.2f}"]
        lines.append(" & ".join([line.label.translate(SPECIAL), *cells, *cost]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex(cell: Cell, digits: int) -> str:
    if cell.mean is None:
        return "--"
    text = shown(cell.mean, digits)
    if cell.best:
        text = rf"\mathbf{{{text}}}"
    spread = "" if cell.summary is None or cell.summary.n < 2 else rf" \pm {shown(cell.summary.std, digits)}"
    return f"${text}{spread}$"
