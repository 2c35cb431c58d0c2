"""`pellucid train`."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pellucid.train.trainer import Trainer

app = typer.Typer(
    help="Train networks; a killed run takes up its last checkpoint. Several processes: accelerate launch."
)

Config = Annotated[Path, typer.Argument(help="A TOML file; docs/training.md has every key.")]
Until = Annotated[int | None, typer.Option(min=0, help="Stop after this step; the next run takes up from there.")]
Init = Annotated[str | None, typer.Option(help="Begin from a shipped or imported network: its name or folder.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the run, instead of the file's.")]


@app.callback()
def group() -> None:
    """Train networks."""


@app.command("prior")
def prior(config: Config, until: Until = None, init: Init = None, out: Out = None) -> None:
    """A diffusion prior on pictures."""
    _run("prior", config, until, init=init, out=out)


@app.command("autoencoder")
def autoencoder(config: Config, until: Until = None, init: Init = None, out: Out = None) -> None:
    """A VQ or KL autoencoder, for latent diffusion."""
    _run("autoencoder", config, until, init=init, out=out)


@app.command("latent-prior")
def latent_prior(config: Config, until: Until = None, init: Init = None, out: Out = None) -> None:
    """A diffusion prior on an autoencoder's latents."""
    _run("latent-prior", config, until, init=init, out=out)


@app.command("denoiser")
def denoiser(config: Config, until: Until = None, init: Init = None, out: Out = None) -> None:
    """A blind residual denoiser, for plug-and-play methods."""
    _run("denoiser", config, until, init=init, out=out)


@app.command("supervised")
def supervised(
    config: Config,
    operator: Annotated[
        str | None, typer.Option(help='The degradation; a..b draws a number: "gaussian-blur:std=0.3..3".')
    ] = None,
    network: Annotated[str | None, typer.Option(help="swinir or unet.")] = None,
    until: Until = None,
    init: Init = None,
    out: Out = None,
) -> None:
    """A network from measurement to picture: SwinIR, or a UNet (after A^+ where y is no picture)."""
    _run("supervised", config, until, init=init, out=out, operator=operator, kind=network)


@app.command("severity")
def severity(config: Config, until: Until = None, init: Init = None, out: Out = None) -> None:
    """A severity encoder for flash: a degraded picture's latent, and how wrong it is."""
    _run("severity", config, until, init=init, out=out)


@app.command("parameter")
def parameter(config: Config, until: Until = None, init: Init = None, out: Out = None) -> None:
    """A head on a severity encoder that tells an operator's parameter, for texts such as gaussian-blur:std=?."""
    _run("parameter", config, until, init=init, out=out)


@app.command("dirac")
def dirac(config: Config, until: Until = None, init: Init = None, out: Out = None) -> None:
    """A network that reverses a degradation step by step, for the method dirac."""
    _run("dirac", config, until, init=init, out=out)


@app.command("ship")
def ship(
    run: Annotated[Path, typer.Argument(help="The run's folder, or its TOML file.")],
    kind: Annotated[
        str | None, typer.Option(help="The word after `pellucid train`; a run's folder knows it.", show_default=False)
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="A folder, instead of the one that the configuration's table of shipping names.")
    ] = None,
) -> None:
    """Export the last checkpoint: float16 weights and a card with the quality measured."""
    _require_extra()
    from pellucid.cli.console import note
    from pellucid.train.export import ship as export
    from pellucid.train.tasks.make import read_task, training_of
    from pellucid.train.trainer import Trainer

    training = kind or training_of(run)
    trainer = Trainer(read_task(training, run, begin=False))
    if trainer.config.ship is not None:
        note("measuring on held-out pictures; this may take minutes")
    measured = export(trainer, f"pellucid train {training} {run}", to)
    said = measured or "no quality measured, since the configuration has no table of shipping with held-out data"
    print(f"{to or (trainer.config.ship and trainer.config.ship.to)}: {said}")


def _require_extra() -> None:
    from pellucid.errors import ConfigError

    if find_spec("accelerate") is None:
        raise ConfigError("training needs the extra: pip install 'pellucid[train]'")


def _run(training: str, config: Path, until: int | None, **overrides: Any) -> None:
    _require_extra()
    from pellucid.train.tasks.make import read_task
    from pellucid.train.trainer import Trainer

    command = " ".join(["pellucid", *sys.argv[1:]])
    _show(Trainer(read_task(training, config, **overrides), command), until)


def _show(trainer: Trainer, until: int | None) -> None:
    """Trains behind a progress bar: loss, pictures per second, time left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console, main = Console(stderr=True), trainer.accelerator.is_main_process
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not main) as progress:
        task = progress.add_task("", total=trainer.config.steps, completed=trainer.newest_step())

        def report(step: int, figures: dict[str, float], rate: float) -> None:
            progress.update(task, completed=step, description=f"loss {figures['loss']:.4f}, {rate:.0f} pictures/s")
            if main and not console.is_terminal and step % 200 == 0:
                print(f"step {step}: loss {figures['loss']:.4f}, {rate:.0f} pictures/s", flush=True)

        trainer.train(report, until)
    if main:
        print(f"step {trainer.step} of {trainer.config.steps}; checkpoints in {trainer.checkpoints.folder}")
