"""What a collection of millions costs: writing it, indexing it, asking it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.bench.retrieval.clustered import Clustered
from pellucid.retrieval import ann

KEY = "number"
PROBES = (1, 2, 4, 8, 16)
Say = Callable[[str], None]


def study(
    folder: Path,
    rows: int,
    generator: Clustered,
    kinds: tuple[str, ...],
    say: Say,
    *,
    half: bool = False,
    k: int = 20,
    queries: int = 200,
    cosine: float = 0.9,
    keep: bool = False,
) -> dict[str, Any]:
    """One table, one or more indexes on it, one after the other; {setting, figures}.

    Args:
        folder: where the table is made; removed in the end.
        rows: of the table.
        generator: of the vectors.
        kinds: of indexes, see `ann.configuration`.
        say: is told what has been found.
        half: store float16.
        k: neighbours that are asked for.
        queries: how many of each kind: held-out draws, and the same turned away by the angle of `cosine`. Half of both
            choose how many partitions are searched, the other half is what is reported.
        cosine: see `queries`.
        keep: leave the table there.
    """
    import lancedb

    held_out = generator.draw(queries)
    asked = np.concatenate([held_out, generator.disturbed(held_out, cosine)])
    shutil.rmtree(folder, ignore_errors=True)
    table, truth, written = _write(lancedb.connect(folder), rows, generator, asked, k, half)
    result: dict[str, Any] = {
        "rows": rows,
        "dimension": generator.dimension,
        "storage": "float16" if half else "float32",
        "k": k,
        "queries": queries,
        "cosine": cosine,
        "generator": generator.about(),
        "write_seconds": round(written, 1),
        "table_bytes": _bytes(folder),
    }
    say(f"{rows:,} rows written in {written:.0f} s, {result['table_bytes'] / 1e9:.2f} GB")
    half_of = queries // 2
    clean, noisy = slice(half_of, queries), slice(queries + half_of, 2 * queries)
    few = min(5, half_of)
    exact = _ask(table, asked[clean][:few], truth[clean][:few], None)
    result["exact"] = exact
    say(f"exact: {exact}")
    result["indexes"] = []
    for kind in kinds:
        before, began, busy = _bytes(folder), time.perf_counter(), time.process_time()
        ann.build(table, kind, generator.dimension)
        built, busy = time.perf_counter() - began, time.process_time() - busy
        say(f"{kind}: built in {built:.0f} s, {busy:.0f} s of the processor")
        chosen = np.r_[0:half_of, queries : queries + half_of]
        tuning = ann.tune(table, kind, asked[chosen], truth[chosen], key=KEY)
        say(f"{kind}: {tuning}")
        one: dict[str, Any] = {
            "kind": kind,
            "build_seconds": round(built, 1),
            "build_cpu_seconds": round(busy, 1),
            "bytes": next(i.size_bytes for i in table.list_indices() if ann.COLUMN in i.columns),
            "files_grew": _bytes(folder) - before,
            "nprobes": tuning.nprobes,
            "refine": tuning.refine,
            "recall_when_tuned": tuning.recall,
            "held_out": _ask(table, asked[clean], truth[clean], tuning),
            "turned": _ask(table, asked[noisy], truth[noisy], tuning),
            "curve": [
                {"nprobes": n, "turned": _ask(table, asked[noisy], truth[noisy], replace(tuning, nprobes=n))}
                for n in PROBES
            ],
        }
        result["indexes"].append(one)
        say(f"{kind}: {one}")
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def _write(
    database: Any, rows: int, generator: Clustered, asked: np.ndarray, k: int, half: bool
) -> tuple[Any, np.ndarray, float]:
    """The table, the exact neighbours of the queries, the seconds that writing took without making the vectors."""
    import pyarrow as pa

    kind, dtype = (pa.float16(), np.float16) if half else (pa.float32(), np.float32)
    schema = pa.schema([pa.field(KEY, pa.int64()), pa.field(ann.COLUMN, pa.list_(kind, generator.dimension))])
    nearest, aside = ann.Nearest(asked, k), 0.0

    def parts() -> Iterator[Any]:
        nonlocal aside
        first, chunks = 0, generator.chunks(rows)
        while True:
            began = time.perf_counter()
            x = next(chunks, None)
            if x is None:
                aside += time.perf_counter() - began
                return
            stored = x.astype(dtype)
            numbers = np.arange(first, first + len(x))
            nearest.see(stored.astype(np.float32), numbers.tolist())
            aside += time.perf_counter() - began
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(stored.ravel()), generator.dimension)
            yield pa.RecordBatch.from_arrays([pa.array(numbers), vectors], schema=schema)
            first += len(x)

    began = time.perf_counter()
    reader = pa.RecordBatchReader.from_batches(schema, parts())
    table = database.create_table("vectors", data=reader, schema=schema)
    return table, nearest.labels, time.perf_counter() - began - aside


def _ask(table: Any, queries: np.ndarray, truth: np.ndarray, tuning: ann.Tuning | None) -> dict[str, Any]:
    """Recall, milliseconds of the whole call as a program sees it, one query after the other, and of the processor."""
    k = truth.shape[1]
    ann.ask(table, queries[0], k, [KEY], tuning)  # files are opened and the index is loaded by the first
    seconds, shares, busy = [], [], time.process_time()
    for query, wanted in zip(queries, truth, strict=True):
        began = time.perf_counter()
        found = ann.ask(table, query, k, [KEY], tuning).column(KEY).to_pylist()
        seconds.append(time.perf_counter() - began)
        shares.append(len(set(found) & set(wanted)) / k)
    p50, p95 = (round(float(np.quantile(seconds, q)) * 1000, 1) for q in (0.5, 0.95))
    cpu = round((time.process_time() - busy) / len(queries) * 1000, 1)
    recall = round(float(np.mean(shares)), 4)
    return {"queries": len(queries), "recall": recall, "ms_p50": p50, "ms_p95": p95, "cpu_ms": cpu}


def _bytes(folder: Path) -> int:
    return sum(os.path.getsize(path) for path in folder.rglob("*") if path.is_file())
