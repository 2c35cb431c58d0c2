"""Remarks below a claim's table: text from the results, left out where its experiment was not run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from pellucid.bench.claims.results import MissingResults, Results

Remark = Callable[[Results], Iterator[str]]


def written(remarks: Mapping[str, tuple[Remark, ...]], name: str, results: Results) -> str:
    """The remarks on one claim, a blank line between them; "" where there are none."""
    return "\n\n".join(text for remark in remarks.get(name, ()) if (text := _text(remark, results)))


def _text(remark: Remark, results: Results) -> str:
    try:
        return "\n".join(remark(results))
    except MissingResults:
        return ""
