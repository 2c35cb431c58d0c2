"""The commands, each in a file of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from pellucid.cli import index, lists, priors, train
from pellucid.cli.bench import bench, overhead
from pellucid.cli.console import NOTICE
from pellucid.cli.degrade import degrade
from pellucid.cli.demo import demo
from pellucid.cli.edit import edit
from pellucid.cli.importing import import_
from pellucid.cli.measure import compare
from pellucid.cli.report import report
from pellucid.cli.restore import restore
from pellucid.cli.schedule import schedule
from pellucid.cli.tune import tune
from pellucid.cli.upscale import upscale
from pellucid.cli.verify import verify

app = typer.Typer(
    name="pellucid",
    help=f"Brings degraded pictures back with diffusion models.\n\n{NOTICE}",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Brings degraded pictures back with diffusion models."""
    if version:
        from importlib.metadata import version as installed

        print(installed("pellucid"))


app.command("restore")(restore)
app.command("degrade")(degrade)
app.command("upscale")(upscale)
app.command("edit")(edit)
app.command("demo")(demo)
app.command("verify")(verify)
app.command("compare")(compare)
app.command("import")(import_)
app.add_typer(lists.app, name="list")
app.add_typer(priors.app, name="priors")
app.add_typer(train.app, name="train")
app.add_typer(index.app, name="index")
app.command("bench")(bench)
app.command("report")(report)
app.command("tune")(tune)
app.command("schedule")(schedule)
app.command("overhead")(overhead)
