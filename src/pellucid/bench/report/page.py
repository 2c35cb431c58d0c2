"""The page: one HTML file that needs no other, no script, no network."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from pellucid.bench.report.figures import Drawn
from pellucid.bench.report.results import RESIDUAL, Results
from pellucid.bench.report.tables import Cell, Table, shown
from pellucid.cli.console import NOTICE

STYLE = """
:root { color-scheme: light; --line: #d8d8d8; --soft: #666; --good: #00694d; --bad: #a33c00; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 0 auto; max-width: 1280px;
  padding: 24px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 44px 0 8px; border-top: 1px solid var(--line);
  padding-top: 20px; } p, li { max-width: 80ch; } .soft, figcaption, caption { color: var(--soft); font-size: 13px; }
nav a { margin-right: 14px; } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13.5px; margin: 8px 0; }
caption { text-align: left; caption-side: bottom; padding-top: 6px; }
th, td { padding: 5px 12px 5px 0; text-align: right; white-space: nowrap; vertical-align: top; }
th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 1.5px solid #333; font-weight: 600; }
tbody tr { border-bottom: 1px solid var(--line); } small { display: block; color: var(--soft); font-size: 11.5px; }
.good { color: var(--good); } .bad { color: var(--bad); } .paper { color: #4b3d8f; }
figure { margin: 18px 0; } figure img { max-width: 100%; height: auto; }
pre { background: #f6f6f6; padding: 12px; overflow-x: auto; font-size: 12px; } summary { cursor: pointer; }
"""


def page(results: Results, found: Sequence[Table], drawn: Sequence[Drawn], folder: Path) -> str:
    """The whole page; pictures come from `folder` and go into the page."""
    names = [table.group.title for table in found]
    links = "".join(f'<a href="#g{i}">{escape(table.group.task)}</a>' for i, table in enumerate(found))
    body = [f"<h1>{escape(results.title)}</h1>", _head(results, found), f"<nav>{links}</nav>", _statements(results)]
    for i, (table, name) in enumerate(zip(found, names, strict=True)):
        prior = f" — prior {escape(table.group.prior)}"
        body += [f'<h2 id="g{i}">{escape(name)}{prior}</h2>', _table(table)]
        body += [_figure(item, folder) for item in drawn if item.group is table.group]
    body += ["<h2>Where this is from</h2>", _provenance(results)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(results.title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _head(results: Results, found: Sequence[Table]) -> str:
    counts = [line.n for table in found for line in table.lines]
    notes = "".join(f"<p>{escape(plan['plan']['notes'])}</p>" for plan in results.plans if plan["plan"]["notes"])
    rows = sum(len(group.rows) for group in results.groups)
    text = f"{rows} reconstructions; {min(counts)} to {max(counts)} pictures a number."
    return f'{notes}<p class="soft">{text} {escape(NOTICE)}</p>'


def _statements(results: Results) -> str:
    texts = [m.text(results.protocol) for m in (*results.metrics, *results.set_metrics)]
    texts.append("residual: " + RESIDUAL.text(results.protocol) + "; with the true operator")
    data = results.plans[0]["plan"]["data"]
    size = f"{data['size']} px, crop {data['crop']}" if data["size"] else "whole pictures"
    first = (
        f"Pictures: {escape(str(data['path']))}, {size}, colour {data['colour']}. A number is mean ± standard "
        "deviation over the pictures, each the mean over its seeds. In small print: the mean paired difference to "
        "the reference, with its 95 % bootstrap interval (BCa, 10 000 resamples); green "
        "where all of it is better, orange where all of it is worse. Metrics of sets have one number and no interval."
    )
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    paper = "".join(f'<li class="paper">paper: {escape(source)}</li>' for source in results.sources)
    listed = f'<ul class="soft">{items}{paper}</ul>'
    return f"<details open><summary>What the numbers are</summary><p>{first}</p>{listed}</details>"


def _table(table: Table) -> str:
    arrows = {"higher": "↑", "lower": "↓"}
    heads = [f"{escape(n)}{f' [{u}]' if u else ''} {arrows[b]}" for n, u, b, _ in table.columns]
    vjps = any(line.costs["vjp"] for line in table.lines)
    costs = ["NFE", *(["VJP"] if vjps else []), "s / picture", "MiB", "n"]
    rows = []
    for line in table.lines:
        cells = [_cell(line.cells[name], digits) for name, _, _, digits in table.columns]
        cost = [_number(line.costs[name], d) for name, d in (("nfe", 0), ("vjp", 0), ("seconds", 3), ("memory_mib", 0))]
        if not vjps:
            del cost[1]
        failed = f'<small class="bad">{line.failed} failed</small>' if line.failed else ""
        n = f"{line.n}" + (f" × {line.seeds} seeds" if line.seeds > 1 else "")
        mark = "<small>reference</small>" if line.label == table.reference else ""
        rows.append(
            f"<tr><td>{escape(line.label)}{mark}{failed}</td>{''.join(cells)}"
            + "".join(f"<td>{c}</td>" for c in [*cost, n])
            + "</tr>"
        )
    notes = "".join(f'<p class="soft">{escape(note)}</p>' for note in [*table.notes, *_failures(table)])
    return (
        '<div class="wide"><table><thead><tr><th>method</th>'
        + "".join(f"<th>{head}</th>" for head in [*heads, *costs])
        + f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>{notes}"
    )


def _failures(table: Table) -> list[str]:
    """One line for every way in which methods failed."""
    found: dict[tuple[str, str], int] = {}
    for label in table.group.labels:
        for row in table.group.failed(label):
            found[label, row["error"] or ""] = found.get((label, row["error"] or ""), 0) + 1
    return [f"{label} failed on {count}: {text}" for (label, text), count in found.items()]


def _cell(cell: Cell, digits: int) -> str:
    paper = "" if cell.published is None else f'<small class="paper">paper {cell.published:g}</small>'
    if cell.mean is None:
        return f"<td>–{paper}</td>"
    text = shown(cell.mean, digits)
    text = f"<b>{text}</b>" if cell.best else text
    if cell.summary is not None and cell.summary.n > 1:
        text += f" ± {shown(cell.summary.std, digits)}"
    kind = {True: ' class="good"', False: ' class="bad"', None: ""}[cell.better]
    small = ""
    if (d := cell.difference) is not None:
        interval = f" [{shown(d.low, digits, '+')}, {shown(d.high, digits, '+')}]" if d.n > 1 else ""
        small = f"<small{kind}>{shown(d.mean, digits, '+')}{interval}</small>"
    return f"<td>{text}{small}{paper}</td>"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _figure(drawn: Drawn, folder: Path) -> str:
    data = base64.b64encode((folder / drawn.name).read_bytes()).decode()
    caption = escape(drawn.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'
    )


def _provenance(results: Results) -> str:
    parts = []
    for folder, plan in zip(results.folders, results.plans, strict=True):
        shown = {name: value for name, value in plan.items() if name not in ("images", "metrics")}
        versions = ", ".join(f"{name} {value}" for name, value in plan["versions"].items())
        text = (
            f"{folder}: commit {plan['commit'] or 'unknown'}; {versions}; {plan['machine']['processor']}, "
            f"device {plan['device']}, precision {plan['precision']}, {plan['plan']['threads']} threads a process, "
            f"{plan['workers']} processes; {len(plan['images'])} pictures."
        )
        full = escape(json.dumps(shown, indent=1, ensure_ascii=False))
        parts.append(
            f"<p>{escape(text)}</p><details><summary>The plan as it was run</summary><pre>{full}</pre></details>"
        )
    return "".join(parts)
