"""What an index says of itself."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pellucid.retrieval import ann
from pellucid.retrieval.index import Index

MOST_LICENCES = 12


def summary(index: Index, versions: int = 5) -> dict[str, Any]:
    """Size, embedder, way of searching, licences and the latest versions of an index, as plain values."""
    about, keeping = index.about, index.about.keeping
    licences: Counter[str] = Counter()
    for batch in ann.batches(index.table, ["licence"]):
        licences.update(batch.column("licence").to_pylist())
    kept = "paths only" if keeping.paths else "pictures inside"
    listed = sorted(index.table.list_versions(), key=lambda v: int(v["version"]), reverse=True)
    found = ann.kind_of(index.table)
    search = "exact: every vector is compared"
    if found is not None:
        search = f"{found[0]}, {found[1]:,} rows not in it yet"
    if (tuning := index.tuning) is not None:
        search += f"; {tuning.nprobes} partitions, recall@{tuning.k} {tuning.recall:.3f} against exact search "
        search += f"({tuning.queries} queries, {tuning.rows:,} rows)"
    return {
        "uri": str(index.uri),
        "pictures": len(index),
        "bytes": int(index.table.stats()["total_bytes"]),
        "keeps": kept + (f", longest side {keeping.longest}" if keeping.longest else ""),
        "embedder": about.embedder,
        "embedder_text": about.text,
        "dimension": about.dimension,
        "vectors": "float16" if keeping.half else "float32",
        "search": search,
        "tuning": None if tuning is None else tuning.about(),
        "licences": dict(licences.most_common(MOST_LICENCES)),
        "count_of_versions": len(listed),
        "versions": [
            {
                "version": int(v["version"]),
                "when": v["timestamp"].isoformat(sep=" ", timespec="seconds"),
                "rows": int(v["metadata"].get("total_rows", 0)),
            }
            for v in listed[:versions]
        ],
    }
