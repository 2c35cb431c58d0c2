"""`pellucid priors`."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="About the priors.")


@app.callback()
def group() -> None:
    """About the priors."""


@app.command("info")
def info(name: Annotated[str, typer.Argument(help="A name from `pellucid list priors`.")]) -> None:
    """A prior's card: its network, training data, licences, measured quality."""
    from pellucid.errors import UnknownNameError
    from pellucid.zoo import available

    cards = {card.name: card for card in available()}
    if name not in cards:
        raise UnknownNameError("prior", name, cards)
    print(cards[name].text)
