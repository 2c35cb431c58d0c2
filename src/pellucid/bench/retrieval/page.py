"""The table of docs/retrieval.md, from result files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- scale: made by `python -m pellucid.bench.retrieval page` -->", "<!-- end of scale -->"


def table(studies: list[dict[str, Any]]) -> str:
    """One line an index of a study."""
    lines = [
        "| vectors | stored as | table | index | built in | of the processor | index on disk | partitions | recall@20 "
        "| ms (p50 / p95) | exact, ms |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for study in sorted(studies, key=lambda s: (s["dimension"], s["storage"])):
        size = f"{study['rows']:,} x {study['dimension']}"
        for one in study["indexes"]:
            clean = one["held_out"]
            found = f"{clean['recall']:.3f}, turned {one['turned']['recall']:.3f}"
            cpu = one.get("build_cpu_seconds")
            lines.append(
                f"| {size} | {study['storage']} | {study['table_bytes'] / 1e9:.1f} GB | {one['kind']} "
                f"| {_minutes(one['build_seconds'])} | {_minutes(cpu) if cpu else 'not taken'} "
                f"| {one['bytes'] / 1e6:.0f} MB | {one['nprobes']} | {found} "
                f"| {clean['ms_p50']:.0f} / {clean['ms_p95']:.0f} | {study['exact']['ms_p50']:,.0f} |"
            )
    return "\n".join(lines)


def remarks(studies: list[dict[str, Any]]) -> str:
    """What it ran on, and what else that machine did."""
    seen = {(s["machine"]["processor"], s["cores"], s["versions"]["lancedb"], s["state"]) for s in studies}
    parts = [
        f"{processor}, {cores} core{'s' if cores > 1 else ''}, LanceDB {lancedb}" + (f"; {state}" if state else "")
        for processor, cores, lancedb, state in sorted(seen)
    ]
    loads = [s["load_average"][1] for s in studies]
    return f"{'. '.join(parts)}. Load of the machine at the end of a study: {min(loads):.1f} to {max(loads):.1f}."


def likeness(found: dict[str, Any]) -> str:
    """How the generator's vectors compare with embeddings of photographs."""
    lines = ["| | photographs | generator |", "|---|---|---|"]
    for key, text in (
        ("cosine_mean", "cosine of two, mean"),
        ("cosine_std", "its standard deviation"),
        ("cosine_first", "cosine of the nearest"),
        ("cosine_twentieth", "of the 20th"),
        ("local_dimension", "local dimension (Levina and Bickel, 10 neighbours)"),
        ("global_dimension", "participation ratio of the covariance"),
    ):
        lines.append(f"| {text} | {found['photographs'][key]:.3g} | {found['generator'][key]:.3g} |")
    return "\n".join(lines)


def written(page: str, results: Path) -> str:
    """The page with its tables made anew."""
    studies = json.loads((results / "scale.json").read_text())
    found = json.loads((results / "likeness.json").read_text())
    text = f"{BEGIN}\n\n{table(studies)}\n\n{remarks(studies)}\n\n{likeness(found)}\n\n{END}"
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    return pattern.sub(lambda _: text, page)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
