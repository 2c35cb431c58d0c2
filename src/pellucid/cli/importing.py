"""`pellucid import`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pellucid.checkpoints.convert import Imported


def import_(
    file: Annotated[
        Path | None,
        typer.Argument(help="A published checkpoint: .pt, .pth, .ckpt or .safetensors.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="The folder to make.", show_default=False)
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="What it is, if its names do not tell: see --list.", show_default=False)
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="What shapes do not tell: see --list.", show_default=False),
    ] = None,
    ema: Annotated[
        bool | None, typer.Option("--ema/--raw", help="Averaged weights, or the last ones.", show_default="averaged")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing folder.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="The kinds, and where their files are found.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The card, or the list, as JSON.")] = False,
) -> None:
    """Turn a published checkpoint into a folder that `--prior` takes. Nothing in the file is executed."""
    from pellucid.errors import ConfigError

    if list_:
        _show_kinds(json)
        return
    if file is None or out is None:
        raise ConfigError(
            "say what to import and where to: pellucid import FILE -o DIR; the kinds: pellucid import --list"
        )

    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from pellucid.checkpoints.convert import import_file
    from pellucid.cli.settings import method_options

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(file.name, total=None)
        done = import_file(
            file,
            Path(out.absolute()),
            kind,
            method_options(settings or ()),
            averaged=ema,
            replace=force,
            report=lambda written, total: progress.update(task, completed=written, total=total),
        )
    _say(file, out, done, json)


def _say(file: Path, out: Path, done: Imported, as_json: bool) -> None:
    from json import dumps

    from pellucid.cli.console import say

    if as_json:
        say(dumps({**done.card, "folder": str(out)}, indent=2))
        return
    options = " ".join(f"{key}={value}" for key, value in done.card["options"].items() if value is not None)
    say(f"{file.name}: {done.kind.summary} ({done.kind.name}{', ' if options else ''}{options})")
    averaged = {True: ", averaged", False: ", not averaged"}.get(done.card.get("averaged"), "")  # type: ignore[arg-type]
    say(f"{done.parameters:,} parameters in {out}{averaged}")
    say(_next(out, done))


def _next(out: Path, done: Imported) -> str:
    place = quote(str(out))
    if done.kind.role == "estimator":
        upscale = done.card.get("upscale", 1)
        reduced = f" --operator bicubic:factor={upscale}" if upscale != 1 else ""
        return f"next: pellucid restore PICTURE -m {place}{reduced}"
    if done.kind.role != "prior":
        return f"next, in Python: pellucid.checkpoints.folder.load(Path({str(out)!r})), its role: {done.kind.role}"
    if done.card.get("classes") and done.card.get("label") is None:
        where = f'as "label" in {out / "card.json"} (or --set label=N)'
        return f"next: say its class, 0 to {done.card['classes'] - 1}, {where}"
    method = f" -m {done.kind.method}" if done.kind.method else ""
    return f"next: pellucid restore PICTURE --prior {place}{method} --operator gaussian-blur:std=2 --noise 0.05"


def _show_kinds(as_json: bool) -> None:
    from pellucid.checkpoints.kinds import kinds
    from pellucid.cli.table import show

    rows = [
        {
            "kind": kind.name,
            "role": kind.role,
            "summary": kind.summary,
            "options": " ".join(f"{name}={option.default}" for name, option in kind.options.items()),
            "published": "; ".join(f"{file}: {address}" for file, address in kind.published),
            "licence": kind.licence,
        }
        for _, kind in sorted(kinds().items())
    ]
    show(rows, as_json=as_json)
