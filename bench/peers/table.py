"""Rows of a race as pairs, theirs and ours on the same pictures, and the pairs as a table."""

from __future__ import annotations

import csv
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bench.peers.race import OURS, Row
from pellucid.errors import ConfigError
from pellucid.images.atomic import replacing
from pellucid.metrics.statistics import paired

MARKS = "(<!-- {0} -->\n).*?(<!-- /{0} -->)"


@dataclass(frozen=True)
class Pair:
    """A sampler of another library beside ours on one task.

    Attributes:
        task, noise, prior: of what.
        library, method, pair: their sampler, and the label of ours.
        same_paper: whether both are of one paper.
        pictures: on which both succeeded; a picture's seeds count as one.
        theirs, ours: mean PSNR in dB.
        gain: ours - theirs in dB; low, high: its paired bootstrap interval, 95 %; None for fewer than two pictures.
        their_calls, our_calls, their_vjps, our_vjps: a picture.
        time: the median over the pictures of seconds of ours / seconds of theirs.
        cpu_time: the same of the processor's seconds, which other work on the machine disturbs less.
        their_residual, our_residual: root mean square of y - A(x).
        error: of a picture that their sampler failed on.
    """

    task: str
    noise: str
    prior: str
    library: str
    method: str
    pair: str
    same_paper: bool
    pictures: int
    theirs: float | None
    ours: float | None
    gain: float | None
    low: float | None
    high: float | None
    their_calls: float | None
    our_calls: float | None
    their_vjps: float | None
    our_vjps: float | None
    time: float | None
    cpu_time: float | None
    their_residual: float | None
    our_residual: float | None
    error: str | None


def pairs(rows: Sequence[Row]) -> list[Pair]:
    """One pair for every task, prior and foreign sampler, in the order of the rows' tasks and labels."""
    ours = {_slot(row): row for row in rows if row["library"] == OURS}
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row["library"] != OURS:
            names = ("task", "noise", "prior", "library", "method", "pair", "same_paper")
            groups.setdefault(tuple(row[name] for name in names), []).append(row)
    order = {key: i for i, key in enumerate(dict.fromkeys((row["task"], row["noise"], row["pair"]) for row in rows))}
    found = sorted(groups.items(), key=lambda item: (order[item[0][0], item[0][1], item[0][5]], item[0][3:5]))
    return [_pair(head, [(row, ours[_slot(row)]) for row in theirs]) for head, theirs in found]


def _slot(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("task", "noise", "prior", "pair", "seed", "image"))


def _pair(head: tuple[Any, ...], both: Sequence[tuple[Row, Row]]) -> Pair:
    error = next((row["error"] for couple in both for row in couple if row["status"] != "ok"), None)
    good = [(theirs, ours) for theirs, ours in both if theirs["status"] == ours["status"] == "ok"]
    if not good:
        return Pair(*head, 0, *[None] * 13, error)
    theirs, ours = (_by_image(good, side, "psnr") for side in (0, 1))
    gain = paired(ours, theirs)
    several = len(theirs) > 1
    return Pair(
        *head,
        len(theirs),
        statistics.fmean(theirs),
        statistics.fmean(ours),
        gain.mean,
        gain.low if several else None,
        gain.high if several else None,
        *(statistics.fmean(couple[side][name] for couple in good) for name in ("nfe", "vjp") for side in (0, 1)),
        statistics.median(ours["seconds"] / theirs["seconds"] for theirs, ours in good),
        statistics.median(ours["cpu_seconds"] / theirs["cpu_seconds"] for theirs, ours in good),
        *(statistics.fmean(couple[side]["residual"] for couple in good) for side in (0, 1)),
        error,
    )


def _by_image(good: Sequence[tuple[Row, Row]], side: int, name: str) -> list[float]:
    """The mean over the seeds of every picture."""
    values: dict[str, list[float]] = {}
    for couple in good:
        values.setdefault(couple[side]["image"], []).append(couple[side][name])
    return [statistics.fmean(v) for v in values.values()]


def markdown(found: Iterable[Pair], settings: Mapping[tuple[str, str], str]) -> str:
    """The pairs as a table, and below it what every sampler was left at.

    Args:
        found: the pairs.
        settings: defaults by (library, method).
    """
    head = (
        "| task | sampler | ours | calls | vjps | PSNR theirs | PSNR ours | ours - theirs, dB | time ours / theirs |",
        "|---|---|---|---|---|---|---|---|---|",
    )
    return "\n".join([*head, *map(_line, found), "", *_defaults(settings)]) + "\n"


def _line(pair: Pair) -> str:
    beside = pair.pair if pair.same_paper else f"({pair.pair})"
    start = f"| {pair.task}, noise {pair.noise} | {pair.library} {pair.method} | {beside} |"
    if pair.pictures == 0 or pair.gain is None:
        return f"{start} | | {_cell(pair.error or '')} | | | |"
    within = "" if pair.low is None else f" [{pair.low:+.2f}, {pair.high:+.2f}]"
    failed = "" if pair.error is None else f" (failed: {_cell(pair.error)})"
    return (
        f"{start} {pair.their_calls:.0f} / {pair.our_calls:.0f} | {pair.their_vjps:.0f} / {pair.our_vjps:.0f} "
        f"| {pair.theirs:.2f}{failed} | {pair.ours:.2f} | {pair.gain:+.2f}{within} | {pair.cpu_time:.2f} |"
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")[:160]


def _defaults(settings: Mapping[tuple[str, str], str]) -> list[str]:
    lines = ["Left as each library has it:", ""]
    return lines + [f"- {library} {method}: {_cell(text)}" for (library, method), text in settings.items()]


def settings_of(rows: Iterable[Row]) -> dict[tuple[str, str], str]:
    """Defaults by (library, method), of the other libraries."""
    return {(r["library"], r["method"]): r["settings"] for r in rows if r["library"] != OURS}


def put_into(page: Path, text: str, mark: str = "peers") -> None:
    """Replaces what is between the page's marks `<!-- peers -->` and `<!-- /peers -->`.

    Raises:
        ConfigError: the page is missing or has no such marks.
    """
    old = page.read_text() if page.is_file() else ""
    block = re.compile(MARKS.format(mark), re.DOTALL)
    if not block.search(old):
        raise ConfigError(f"{page} has no lines <!-- {mark} --> and <!-- /{mark} --> to write between")
    with replacing(page) as partial:
        partial.write_text(block.sub(lambda m: m[1] + text + m[2], old))


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Parquet; a column that a row lacks is empty there."""
    import pyarrow
    import pyarrow.parquet

    columns = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(path) as partial:
        pyarrow.parquet.write_table(pyarrow.table({c: [row.get(c) for row in rows] for c in columns}), partial)


def read_rows(path: Path) -> list[Row]:
    """What `write_rows` wrote; nothing where there is no file. Raises `ConfigError`."""
    import pyarrow
    import pyarrow.parquet

    if not path.exists():
        return []
    try:
        found: list[Row] = pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    return found


def write_pairs(found: Sequence[Pair], path: Path) -> None:
    """CSV."""
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Pair)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(asdict, found))
