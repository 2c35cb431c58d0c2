"""python -m bench.peers PLAN.toml -o DIR: a plan through deepinv, azula and pellucid. See bench/README.md."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

from bench.peers.libraries import installed
from bench.peers.race import OURS, Row, race
from bench.peers.table import markdown, pairs, put_into, read_rows, settings_of, write_pairs, write_rows
from pellucid.bench.plan import Plan
from pellucid.bench.resolve import resolve
from pellucid.bench.run import record, save_json
from pellucid.errors import PellucidError


def main() -> int:
    """Parses the command line, runs, prints, writes."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("plan", type=Path, help="a plan, as for `pellucid bench`")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--page", type=Path, help="a Markdown page whose lines between the peers marks are rewritten")
    parser.add_argument("--count", type=int, help="only the first so many of the plan's pictures")
    options = parser.parse_args()
    try:
        compare(options.plan, options.out, options.page, options.count)
    except PellucidError as error:
        print(f"bench.peers: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def compare(source: Path, out: Path, page: Path | None, count: int | None = None) -> None:
    """Writes peers-rows.parquet as it goes, and at the end peers-pairs.csv, peers-about.json and the page.

    Rows that are there already are not run again: a run that was cut short goes on.

    Raises:
        PellucidError: the plan does not hold, or no library is installed.
    """
    peers, plan = installed(), Plan.load(source)
    if count is not None:
        plan = replace(plan, data=replace(plan.data, count=count))
    experiment = resolve(plan)
    if plan.threads:
        torch.set_num_threads(plan.threads)
    out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    earlier = read_rows(out / "peers-rows.parquet")
    for new in race(experiment, peers, earlier):
        rows += new
        keys = {row["key"] for row in rows}
        write_rows([*rows, *(row for row in earlier if row["key"] not in keys)], out / "peers-rows.parquet")
        for row in new:
            print(line(row), flush=True)
    order = {task.name: place for place, task in enumerate(plan.task)}
    rows.sort(key=lambda row: order[row["task"]])
    write_rows(rows, out / "peers-rows.parquet")
    found = pairs(rows)
    write_pairs(found, out / "peers-pairs.csv")
    about = record(experiment, str(source), workers=1)
    about["libraries"] = {row["library"]: row["version"] for row in rows if row["library"] != OURS}
    about["not run"] = sorted({job.run.label for job in experiment.jobs} - {row["pair"] for row in rows})
    save_json(out / "peers-about.json", about)
    text = markdown(found, settings_of(rows))
    print(text)
    if page is not None:
        put_into(page, text)


def line(row: Row) -> str:
    """A row for people."""
    start = f"{row['task']:14s} {row['image']:12s} {row['library']:8s} {row['method']:14s}"
    if row["status"] != "ok":
        return f"{start} {row['status']}: {row['error']}"
    return (
        f"{start} {row['psnr']:6.2f} dB, {row['nfe']:4d} calls, {row['vjp']:4d} vjps, {row['cpu_seconds']:7.2f} s, "
        f"residual {row['residual']:.4f}"
    )


if __name__ == "__main__":
    sys.exit(main())
