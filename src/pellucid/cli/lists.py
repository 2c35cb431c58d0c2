"""`pellucid list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from pellucid.cli.options import Json

if TYPE_CHECKING:
    from pellucid.methods import Preset

ORDER = ("prior", "latent-prior", "dirac", "autoencoder", "denoiser", "estimator", "severity", "parameter")

app = typer.Typer(help="What there is: methods, operators, priors.")


@app.callback()
def group() -> None:
    """What there is: methods, operators, priors."""


@app.command("methods")
def methods(json: Json = False) -> None:
    """Every method, its network calls, and what it needs of the operator."""
    from pellucid.cli.table import show
    from pellucid.methods import METHODS

    rows = [
        {
            "method": preset.name,
            "nfe": preset.default_nfe or 0,
            "needs": _needs(preset),
            "noise": "modelled" if preset.models_noise else "none",
            "summary": preset.summary,
            "reference": preset.reference,
            "options": " ".join(f"{name}={default}" for name, default in preset.options.items()),
        }
        for preset in METHODS.values()
    ]
    show(rows, as_json=json, hidden=("reference", "options"))


@app.command("operators")
def operators(json: Json = False) -> None:
    """Every operator with its parameters, their defaults, and an example."""
    from pellucid.cli.table import show
    from pellucid.operators.text import OPERATORS

    rows = [
        {
            "operator": entry.name,
            "summary": entry.summary,
            "parameters": ", ".join(
                p.name if p.default is None else f"{p.name}={_written(p.default)}" for p in entry.parameters
            ),
            "example": entry.example,
        }
        for entry in OPERATORS.values()
    ]
    show(rows, as_json=json)


@app.command("priors")
def priors(json: Json = False) -> None:
    """Every network that is installed; `--prior` takes the priors; `pellucid priors info NAME` tells more."""
    from pellucid.cli.table import show
    from pellucid.zoo import available

    cards = sorted(available(), key=lambda card: ORDER.index(card.kind) if card.kind in ORDER else len(ORDER))
    show([{"name": card.name, "kind": card.kind, "summary": card.summary} for card in cards], as_json=json)


def _needs(preset: Preset) -> str:
    from pellucid.method import RUNGS
    from pellucid.start.degraded import Measured

    if isinstance(preset.make().start, Measured):  # the measurement has to be a place on the prior's path
        return "its prior's degradation"
    return RUNGS.get(preset.needs, f"a {preset.needs.__name__} operator".lower()).partition(" (")[0]


def _written(value: object) -> str:
    return f"{value[0]}x{value[1]}" if isinstance(value, tuple) else str(value)
