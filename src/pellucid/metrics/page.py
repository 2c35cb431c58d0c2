"""The table of docs/metrics.md, made from the registry."""

from __future__ import annotations

from pellucid.metrics.base import METRICS
from pellucid.metrics.metric import Metric

HEAD = "| metric | unit | better | what it is | fixed | needs |\n|---|---|---|---|---|---|"


def table() -> str:
    """A row a metric, in Markdown."""
    return "\n".join([HEAD, *map(_row, METRICS.values())])


def _row(metric: Metric) -> str:
    summary = metric.summary + ("" if metric.per_image else " (one number a set)")
    cells = (f"`{metric.name}`", metric.unit or "-", metric.better, summary, metric.statement, _needs(metric))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _needs(metric: Metric) -> str:
    needs = ["the truth"] if metric.needs_truth else []
    needs += ["the measurement"] if metric.needs_problem else []
    needs += [f"extra `{metric.extra}`"] if metric.extra else []
    needs += [f"`{name}`" for name in metric.weights]
    return ", ".join(needs) or "-"


if __name__ == "__main__":
    print(table())
