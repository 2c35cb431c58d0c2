"""`pellucid compare`."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from pellucid.cli.console import note


def compare(
    results: Annotated[Path, typer.Argument(help="A picture, or a folder of pictures.", show_default=False)],
    truth: Annotated[Path, typer.Argument(help="The true picture, or a folder of them by name.", show_default=False)],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="psnr, ssim, lpips-vgg, fid, ...: see docs/metrics.md; repeatable. PSNR and SSIM if not given."
        ),
    ] = None,
    clip: Annotated[bool, typer.Option(help="Clip values outside of [0, 1] first.")] = True,
    border: Annotated[int, typer.Option(help="Cut off this many pixels on every side.")] = 0,
    colour: Annotated[str, typer.Option(help="rgb, or y: the luma of BT.601.")] = "rgb",
    csv: Annotated[Path | None, typer.Option(help="Write every file's numbers to this file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> None:
    """Compare pictures with the truth: mean ± standard deviation over the files, with all that belongs to the numbers.

    A metric that needs a library or weights says which, and where they are from.
    """
    from pellucid.cli.table import show
    from pellucid.images.atomic import require_folder
    from pellucid.metrics import METRICS, Protocol, comparison, get

    metrics = [get(name) for name in dict.fromkeys(metric)] if metric else [METRICS["psnr"], *_ssim_if_installed()]
    protocol = Protocol(clip, border, colour)  # type: ignore[arg-type]  # checks it
    if csv:
        require_folder(csv.parent)
    pairs = comparison.pair_up(results, truth)
    if pairs.alone and not json:
        names = ", ".join(path.name for path in pairs.alone[:3])
        note(f"pellucid: {len(pairs.alone)} pictures are on one side only and left out: {names}, ...")
    found = comparison.compare(pairs, metrics, protocol)
    if csv:
        found.write_csv(csv)
    if json:
        print(json_module.dumps(found.report(), indent=2, ensure_ascii=False))
        return
    show([_readable(row) for row in found.rows()], as_json=False)
    for text in found.texts():
        print(text)


def _ssim_if_installed() -> list[Any]:
    from importlib.util import find_spec

    from pellucid.metrics import METRICS

    if find_spec("torchmetrics"):
        return [METRICS["ssim"]]
    note("pellucid: SSIM is left out; it needs torchmetrics: pip install 'pellucid[metrics]'")
    return []


def _readable(row: dict[str, Any]) -> dict[str, str]:
    unit = f" {row['unit']}" if row["unit"] else ""
    spread = "" if row["std"] is None else f" ± {row['std']:.2g}"
    sure = "" if row["low"] is None else f"95 % of the mean: {row['low']:.5g} to {row['high']:.5g}"
    better = {"higher": "higher is better", "lower": "lower is better"}[row["better"]]
    files = f"{row['n']} file{'s' if row['n'] > 1 else ''}"
    return {
        "metric": row["metric"],
        "value": f"{row['mean']:.5g}{spread}{unit}",
        "": better,
        "of": files,
        "interval": sure,
    }
