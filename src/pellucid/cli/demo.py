"""`pellucid demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the pictures; made if it is not there.")] = Path("out/demo"),
    seed: Annotated[int, typer.Option(help="Of the noise and the reconstruction.")] = 0,
) -> None:
    """Blur a packaged photograph, punch holes into it, restore both, put before, after and truth side by side."""
    from pellucid.cli.demonstrating import demonstrate

    demonstrate(out, seed)
