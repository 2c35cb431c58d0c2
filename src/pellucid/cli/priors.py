"""`pellucid priors`."""

from __future__ import annotations

from typing import Annotated

import typer

from pellucid.cli.options import Json

app = typer.Typer(help="About the priors.")


@app.callback()
def group() -> None:
    """About the priors."""


@app.command("info")
def info(name: Annotated[str, typer.Argument(help="A name from `pellucid list priors`, or a folder.")]) -> None:
    """A prior's card: its network, training data, licences, measured quality."""
    from pellucid.zoo import Card, find

    print(Card.read(find(name)).text)


@app.command("time")
def seconds(
    name: Annotated[str, typer.Argument(help="A name from `pellucid list priors`, or a folder.")],
    size: Annotated[int, typer.Option(help="Side of the picture in pixels.")] = 256,
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16, openvino or onnxruntime.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 is torch's default.")] = 0,
    json: Json = False,
) -> None:
    """Seconds of one call, and of one with its gradient, on this machine."""
    import torch

    from pellucid.bench.speed import speed
    from pellucid.cli.table import show

    if threads > 0:
        torch.set_num_threads(threads)
    measured = speed(name, size=size, precision=precision)
    show([{"what": what, "seconds": round(value, 4)} for what, value in measured.items()], as_json=json)
