"""Why a claim did not hold, with the figures that say so; texts by hand, numbers from the result files."""

from __future__ import annotations

from pellucid.bench.claims.results import Results


def of(name: str, results: Results) -> str:
    """What is said below a claim's table; "" where there is nothing to explain."""
    return ""
