"""`pellucid train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pellucid.train.prior import PriorTrainer

app = typer.Typer(help="Train networks.")


@app.callback()
def group() -> None:
    """Train networks."""


@app.command("prior")
def prior(
    config: Annotated[Path, typer.Argument(help="A TOML file; its keys are the fields of PriorConfig.")],
    until: Annotated[int | None, typer.Option(help="Stop after this step; the next run takes up from there.")] = None,
) -> None:
    """Train a picture prior; takes up the last checkpoint if there is one."""
    trainer = _trainer(config)

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=trainer.config.steps)

        def report(step: int, loss: float, rate: float) -> None:
            progress.update(task, completed=step, description=f"loss {loss:.4f}, {rate:.0f} crops/s")

        trainer.train(report, until)
    print(f"step {trainer.step} of {trainer.config.steps}; checkpoint in {trainer.checkpoint}")


@app.command("ship")
def ship(config: Annotated[Path, typer.Argument(help="The training's TOML file, with a [ship] table.")]) -> None:
    """Export the last checkpoint as a shipped prior: float16 weights and a card with the quality measured."""
    from pellucid.train.export import ship as export

    trainer = _trainer(config)
    print(f"{trainer.config.ship and trainer.config.ship.to}: {export(trainer, f'pellucid train prior {config}')}")


def _trainer(config: Path) -> PriorTrainer:
    from pellucid.errors import ConfigError
    from pellucid.train.config import PriorConfig
    from pellucid.train.prior import PriorTrainer

    settings = PriorConfig.load(config)
    try:
        return PriorTrainer(settings)
    except FileNotFoundError as error:
        raise ConfigError(f"{config}: {error}") from error
