"""`pellucid index`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pellucid.cli.console import duration, note, say
from pellucid.cli.options import Json

if TYPE_CHECKING:
    from torch import Tensor

    from pellucid.retrieval import Added, Index

app = typer.Typer(help="Collections of pictures that are searched by what they show: docs/retrieval.md.")

MOST_SHOWN = 20
NO_INDEX = "none"

Uri = Annotated[str, typer.Argument(metavar="INDEX", help="A folder, or s3://bucket/name, gs://, az://.")]
Source = Annotated[
    list[Path],
    typer.Argument(
        metavar="PICTURES...", help="Folders, searched recursively; lists (.txt); pictures.", show_default=False
    ),
]
Licence = Annotated[str | None, typer.Option(help="Of pictures that no SOURCES.tsv names.")]
Origin = Annotated[str | None, typer.Option("--source", help="Where such pictures are from.")]
Batch = Annotated[int, typer.Option(min=1, help="Pictures of a version; a killed run loses at most so many.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Threads that read; with --ray, processes on all machines.")]
SkipNear = Annotated[bool, typer.Option("--skip-near-duplicates", help="Leave them out; they are reported always.")]
Ray = Annotated[
    bool, typer.Option("--ray", help="Embed on the machines of a Ray cluster (RAY_ADDRESS), or a local one.")
]
Kind = Annotated[str, typer.Option(help="IVF_RQ, IVF_PQ, IVF_HNSW_SQ, IVF_FLAT; none: every search is exact.")]
Threshold = Annotated[int, typer.Option(min=256, help="Rows from which on searches are approximate.")]
Device = Annotated[str, typer.Option(help="Of the embedder: cpu, cuda.")]
EmbedderText = Annotated[
    str | None, typer.Option("--embedder", help="Where the index's own embedder lies, if it was moved.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No bar.")]


@app.callback()
def group() -> None:
    """Collections of pictures that are searched by what they show."""


@app.command("build")
def build(
    source: Source,
    output: Annotated[str, typer.Option("--output", "-o", metavar="INDEX", help="A folder, or a place in a store.")],
    embedder: Annotated[
        str, typer.Option(help="effnet, pixel, or the folder of CLIP, BLIP or SigLIP from transformers.")
    ] = "effnet",
    paths: Annotated[bool, typer.Option("--paths", help="Keep where pictures lie, not the pictures.")] = False,
    longest: Annotated[
        int | None, typer.Option(min=16, help="Keep larger pictures reduced to this longest side.")
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Keep vectors as float16: half the disk.")] = False,
    licence: Licence = None,
    origin: Origin = None,
    batch: Batch = 256,
    workers: Workers = None,
    skip_near: SkipNear = False,
    ray: Ray = False,
    kind: Kind = "IVF_RQ",
    threshold: Threshold = 20_000,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make an index of pictures; one that is there takes in what is new, so a run that was killed is repeated."""
    from pellucid.errors import ConfigError
    from pellucid.retrieval import Index, Keeping
    from pellucid.retrieval.source import require

    require(source)
    if not output.strip():
        raise ConfigError("--output is empty; give a folder, or a place in a store")
    if paths and longest:
        raise ConfigError("--paths keeps no pictures, so there are none that --longest could reduce")
    keeping = Keeping(paths, longest, half)
    index = Index.create(output, embedder, keeping=keeping, device=device)
    words = {
        "licence": licence,
        "origin": origin,
        "batch": batch,
        "workers": workers,
        "skip_near": skip_near,
        "ray": ray,
    }
    _add(index, source, words, kind, threshold, as_json=as_json, quiet=quiet)


@app.command("add")
def add(
    uri: Uri,
    source: Source,
    licence: Licence = None,
    origin: Origin = None,
    batch: Batch = 256,
    workers: Workers = None,
    skip_near: SkipNear = False,
    ray: Ray = False,
    kind: Kind = "IVF_RQ",
    threshold: Threshold = 20_000,
    embedder: EmbedderText = None,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Add pictures to an index; several may do so at once."""
    from pellucid.retrieval.source import require

    require(source)
    words = {
        "licence": licence,
        "origin": origin,
        "batch": batch,
        "workers": workers,
        "skip_near": skip_near,
        "ray": ray,
    }
    _add(_open(uri, embedder, device), source, words, kind, threshold, as_json=as_json, quiet=quiet)


@app.command("search")
def search(
    uri: Uri,
    pictures: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PICTURE...", help="Of several the mean embedding is searched.", show_default=False),
    ] = None,
    text: Annotated[str | None, typer.Option(help="Search by words; the embedder must know words.")] = None,
    count: Annotated[int, typer.Option("--count", "-k", min=1, help="How many are shown.")] = 5,
    exact: Annotated[bool, typer.Option("--exact", help="Compare with every vector.")] = False,
    save: Annotated[Path | None, typer.Option(metavar="DIR", help="Write what was found into this folder.")] = None,
    embedder: EmbedderText = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Show the pictures nearest to one, to several together, or to a text."""
    from pellucid.cli.table import show
    from pellucid.errors import ConfigError
    from pellucid.images.atomic import require_folder

    if bool(pictures) == (text is not None):
        raise ConfigError("give pictures, or --text, and not both")
    if save is not None:
        require_folder(save)
    index = _open(uri, embedder, device)
    if text is not None:
        found = index.search_text(text, count, exact=exact, pictures=save is not None)
    else:
        found = index.search(_query(index, pictures or []), count, exact=exact, pictures=save is not None)
    rows: list[dict[str, Any]] = []
    for number, one in enumerate(found, 1):
        row = {"name": _plain(one.name), "distance": f"{one.distance:.4f}", "size": f"{one.width}x{one.height}"}
        row |= {"licence": _plain(one.licence), "source": _plain(one.source), "sha256": one.sha256}
        if save is not None:
            row["saved"] = str(_save(one.picture(), save / f"{number:03d}-{_file(one.name)}.png"))
        rows.append(row)
    show(rows, as_json=as_json, hidden=("sha256",))


@app.command("info")
def info(
    uri: Uri,
    versions: Annotated[int, typer.Option(min=0, help="How many of the latest are shown.")] = 5,
    as_json: Json = False,
) -> None:
    """Say what an index holds, by what it was made, how it is searched, and its versions."""
    from pellucid.retrieval import Index
    from pellucid.retrieval.summary import summary

    found = summary(Index.open(uri), versions)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    kept = found["keeps"]
    say(f"{uri}: {found['pictures']:,} pictures, {_bytes(found['bytes'])}, {kept}")
    say(f"embedder  {found['embedder']}, {found['dimension']} x {found['vectors']}")
    say(f"search    {found['search']}")
    for licence, number in found["licences"].items():
        say(f"licence   {_plain(licence) or 'not known'}: {number:,}")
    for version in found["versions"]:
        say(f"version   {version['version']}, {version['when']}, {version['rows']:,} pictures")


@app.command("verify")
def verify(
    uri: Uri,
    pictures: Annotated[bool, typer.Option("--pictures/--no-pictures", help="Read contents and files too.")] = True,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check every row, and the recall of searches; ends with 1 where something is wrong."""
    from pellucid.cli.progress import bar
    from pellucid.retrieval import Index
    from pellucid.retrieval.check import check

    index = Index.open(uri)
    with bar(f"verifying {uri}", quiet=quiet) as (progress, task):
        progress.update(task, total=len(index))
        report = check(index, pictures=pictures, told=lambda rows: progress.update(task, completed=rows))
    if as_json:
        faults = [{"name": name, "fault": why} for name, why in report.faults]
        print(json.dumps({"rows": report.rows, "recall": report.recall, "counts": report.counts, "faults": faults}))
    else:
        for name, why in report.faults:
            note(f"{_plain(name)}: {_plain(why)}")
        exact = "searches are exact" if report.recall is None else f"recall@20 {report.recall:.3f} against exact search"
        wrong = ", ".join(f"{number} {kind}" for kind, number in report.counts.items()) or "nothing wrong"
        say(f"{uri}: {report.rows:,} rows, {wrong}; {exact}")
    if not report.fine:
        raise typer.Exit(1)


@app.command("prune")
def prune(
    uri: Uri,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Remove more than half of the rows, too.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove rows whose file is gone or has changed, or whose picture cannot be decoded."""
    from pellucid.cli.progress import bar
    from pellucid.retrieval import Index
    from pellucid.retrieval import prune as pruning

    index = Index.open(uri)
    with bar(f"reading {uri}", quiet=quiet) as (progress, task):
        progress.update(task, total=len(index))
        watch = lambda rows: progress.update(task, completed=rows)  # noqa: E731
        gone = pruning.prune(index, dry=dry_run, force=force, told=watch)
    if as_json:
        rows = [{"name": name, "fault": why} for name, why in gone]
        print(json.dumps({"removed": 0 if dry_run else len(gone), "rows": len(index), "faults": rows}))
        return
    for name, why in gone[:MOST_SHOWN]:
        note(f"{_plain(name)}: {_plain(why)}")
    if (more := len(gone) - MOST_SHOWN) > 0:
        note(f"... and {more} more; --json names all")
    say(f"{uri}: {len(gone):,} {'would be removed' if dry_run else 'removed'}; {len(index):,} in all")


def _open(uri: str, text: str | None, device: str) -> Index:
    from pellucid.retrieval import Index, embedder

    return Index.open(uri, None if text is None else embedder(text, device), device=device)


def _add(
    index: Index,
    source: list[Path],
    words: dict[str, Any],
    kind: str,
    threshold: int,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    from pellucid.retrieval import ann
    from pellucid.retrieval.contention import Busy
    from pellucid.retrieval.source import items

    if kind != NO_INDEX:
        ann.configuration(kind, index.about.dimension)  # a wrong word is found out before the work
    began = time.perf_counter()
    words |= {"kind": None if kind == NO_INDEX else kind, "threshold": threshold}
    with _shown(sum(1 for _ in items(source)), quiet) as told:
        done = index.add(source, told=told, **words)
    seconds = time.perf_counter() - began
    tuning = None
    try:
        tuning = None if kind == NO_INDEX else index.maintain(threshold, kind)
    except Busy as error:  # the pictures are there, and found
        done.notes.append(f"{error}; the next `index add` does it")
    if as_json:
        print(json.dumps(_counts(done) | {"rows": len(index), "seconds": round(seconds, 2)}, ensure_ascii=False))
        return
    for name, of in done.near[:MOST_SHOWN]:
        note(f"{_plain(name)}: nearly a copy of {_plain(of)}")
    for refusal in done.corrupt[:MOST_SHOWN]:
        note(f"{_plain(refusal.name)} left out: {_plain(refusal.reason)}")
    if (more := max(len(done.near), len(done.corrupt)) - MOST_SHOWN) > 0:
        note(f"... and {more} more; --json names all")
    for line in done.notes:
        note(_plain(line))
    near = f"{len(done.near)} near-duplicates{' left out' if words['skip_near'] else ''}"
    mended = f" ({done.mended:,} of them brought up to date)" if done.mended else ""
    note(f"{done.files:,} files in {duration(seconds)}, {done.files / max(seconds, 1e-9):.1f} a second")
    if tuning is not None:
        note(
            f"{tuning.kind}: recall@{tuning.k} {tuning.recall:.3f} against exact search, {tuning.queries} queries, "
            f"{tuning.nprobes} partitions searched"
        )
    say(
        f"{index.uri}: {done.added:,} added, {done.already:,} already there{mended}, {near}, "
        f"{len(done.corrupt)} refused; {len(index):,} in all"
    )


@contextmanager
def _shown(total: int, quiet: bool) -> Iterator[Any]:
    from pellucid.cli.progress import bar

    began = time.perf_counter()
    with bar("embedding", quiet=quiet) as (progress, task):
        progress.update(task, total=total)

        def told(done: Added) -> None:
            rate = done.files / max(time.perf_counter() - began, 1e-9)
            progress.update(task, completed=done.files, calls=f"{done.files:,} of {total:,}, {rate:.0f}/s")

        yield told


def _counts(done: Added) -> dict[str, Any]:
    return {
        "added": done.added,
        "already": done.already,
        "mended": done.mended,
        "skipped": done.skipped,
        "near": [{"name": name, "of": of} for name, of in done.near],
        "corrupt": [{"name": one.name, "reason": one.reason} for one in done.corrupt],
        "notes": done.notes,
    }


def _query(index: Index, paths: list[Path]) -> Tensor:
    """The mean embedding of pictures of any sizes."""
    import torch

    from pellucid.errors import ImageFileError
    from pellucid.images.read import read
    from pellucid.retrieval.fit import fit

    squares = []
    for path in paths:
        pixels = read(path).pixels
        if pixels.ndim != 3 or pixels.shape[0] not in (1, 3):
            raise ImageFileError(f"{path} of shape {tuple(pixels.shape)} is no picture; bring it back to one first")
        squares.append(fit(pixels[None], index.embedder.side))
    return index.embed(torch.cat(squares))


def _save(picture: Tensor, path: Path) -> Path:
    from PIL import Image

    from pellucid.images.atomic import replacing

    array = (255 * picture).round().byte().permute(1, 2, 0).numpy()
    with replacing(path) as partial:
        Image.fromarray(array).save(partial)
    return path


def _plain(text: str) -> str:
    """Without what a terminal would obey: names in a table or an archive are anybody's."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _file(name: str) -> str:
    """The picture's name as a part of a file's."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in Path(name).stem)[:80]


def _bytes(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
