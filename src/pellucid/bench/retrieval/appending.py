"""What a version costs that is added to a table of millions."""

from __future__ import annotations

import hashlib
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.retrieval.table import append

KEY = {"lance-schema:unenforced-primary-key": "true", "lance-schema:unenforced-primary-key:position": "1"}
PART = 100_000


def study(folder: Path, rows: int, batch: int = 256, rounds: int = 4) -> dict[str, Any]:
    """Seconds of adding `batch` rows, a third of them there already, to a table of keys and short vectors."""
    import lancedb
    import pyarrow as pa

    schema = pa.schema(
        [pa.field("sha256", pa.string(), nullable=False, metadata=KEY), pa.field("vector", pa.list_(pa.float32(), 8))]
    )

    def made(first: int, count: int) -> Any:
        keys = pa.array([hashlib.sha256(b"%d" % n).hexdigest() for n in range(first, first + count)])
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(8 * count, np.float32)), 8)
        return pa.table({"sha256": keys, "vector": vectors}, schema=schema)

    shutil.rmtree(folder, ignore_errors=True)
    table = lancedb.connect(folder).create_table("pictures", schema=schema)
    for first in range(0, rows, PART):
        table.add(made(first, min(PART, rows - first)))
    new, wall, busy = 0, [], []
    for number in range(rounds):
        part = made(rows + new - batch // 3, batch)
        before = time.perf_counter(), time.process_time()
        added = append(table, part)
        wall.append(time.perf_counter() - before[0])
        busy.append(time.process_time() - before[1])
        assert added == batch - batch // 3, (number, added)
        new += added
    began = time.process_time()
    keys = {
        bytes.fromhex(key)
        for part in table.search().select(["sha256"]).to_batches(8192)
        for key in part["sha256"].to_pylist()
    }
    assert len(keys) == rows + new
    read = time.process_time() - began
    shutil.rmtree(folder, ignore_errors=True)
    middle = [round(float(np.median(seconds)), 2) for seconds in (wall, busy)]
    return {
        "rows": rows,
        "batch": batch,
        "seconds": middle[0],
        "cpu_seconds": middle[1],
        "keys_cpu_seconds": round(read, 2),
    }
