"""The table of docs/retrieval.md, from result files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

MADE = "made by `python -m pellucid.bench.retrieval page`"
PARTS = ("scale", "kinds", "likeness", "copies", "appending")


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
    """The page with its tables made anew, each between its two marks; a part without its result file stays."""
    for part in PARTS:
        path = results / f"{part}.json"
        if path.exists():
            found = json.loads(path.read_text())
            text = TEXTS[part](found)
            begin, end = marks(part)
            pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
            page = pattern.sub(lambda _, made=f"{begin}\n\n{text}\n\n{end}": made, page)  # type: ignore[misc]
    return page


def marks(part: str) -> tuple[str, str]:
    """Between which a part of the page lies."""
    return f"<!-- {part}: {MADE} -->", f"<!-- end of {part} -->"


def studies(found: list[dict[str, Any]]) -> str:
    """Table and remarks."""
    return f"{table(found)}\n\n{remarks(found)}"


def copies(found: dict[str, Any]) -> str:
    """Which changes leave a picture what it was."""
    lines = ["| change | taken for a copy |", "|---|---|"]
    lines += [f"| {name} | {100 * share:.0f} % |" for name, share in found["found"].items()]
    least = found["their_least_error"]
    lines += [
        "",
        f"{found['changed']} photographs, changed. Of the pairs of {found['pictures']} different ones, "
        f"{found['pairs_within_distance']} are within {found['near']:g} of each other, and "
        f"{found['pairs_taken_for_copies']} are taken for copies"
        + (f": the least error of their thumbnails is {least:.3f}." if least is not None else "."),
    ]
    return "\n".join(lines)


def appending(found: dict[str, Any]) -> str:
    """What a version costs."""
    return (
        f"Adding a version of {found['batch']} rows to {found['rows']:,} takes {found['cpu_seconds']:g} s of the "
        f"processor; reading the keys that are there, once a run, {found['keys_cpu_seconds']:g} s."
    )


TEXTS: dict[str, Callable[[Any], str]] = {
    "scale": studies,
    "kinds": studies,
    "likeness": likeness,
    "copies": copies,
    "appending": appending,
}


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
