"""`pellucid upscale`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pellucid.cli.console import NOTICE
from pellucid.cli.options import AdapterFile, AdaptLr, Depth, Device, Json, Output, SaveAdapter, Seed

if TYPE_CHECKING:
    from pellucid.cli.inputs import Job
    from pellucid.images import Picture
    from pellucid.stable import Upscaler
    from pellucid.stable.command import Request, Task

Photos = Annotated[
    list[Path], typer.Argument(metavar="PHOTO...", help="Photographs, or folders of them.", show_default=False)
]
Reduce = Annotated[int | None, typer.Option("--max-side", help="First reduce larger pictures to this side.")]
Negative = Annotated[str, typer.Option("--negative", help="What is to be avoided, in words.")]
Steps = Annotated[int, typer.Option("--nfe", help="Steps; with --guidance each costs two network calls.")]
Eta = Annotated[float, typer.Option(help="Share of fresh noise in a step: 0 is DDIM, 1 ancestral sampling.")]
Tile = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        help="Side of the tiles that larger results are made in; 0: never cut. Smaller tiles take less memory.",
        show_default="what the model was made for",
    ),
]
Adapt = Annotated[
    str | None,
    typer.Option(
        metavar="INDEX",
        help="Adapt the network to each picture (ADIR): to those of `pellucid index build` that are most like it.",
        show_default=False,
    ),
]
Neighbours = Annotated[int | None, typer.Option(help="How many of its pictures are learned from.", show_default="50")]
AdaptSteps = Annotated[int | None, typer.Option(help="Of the adaptation.", show_default="400")]
AdaptCrop = Annotated[
    int | None,
    typer.Option(help="Side in pixels of the crops that are learned from, six a step.", show_default="512"),
]
AdaptAttention = Annotated[bool, typer.Option("--adapt-attention", help="Adapt attention too, not only convolutions.")]
Precision = Annotated[str, typer.Option(help="auto, float32 or bfloat16.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")]


def upscale(
    pictures: Photos,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", help="Folder of the Stable Diffusion x4 upscaler: docs/stable-diffusion.md.", show_default=False
        ),
    ] = None,
    output: Output = None,
    prompt: Annotated[str, typer.Option(help="What the picture shows, in words; none is needed.")] = "",
    negative: Negative = "",
    noise_level: Annotated[
        int, typer.Option(help="Noise put on the picture first, 0 to 350: more invents more, and keeps less.")
    ] = 20,
    guidance: Annotated[float, typer.Option(help="How closely the words are followed; 1: no guidance.")] = 9.0,
    nfe: Steps = 50,
    eta: Eta = 0.0,
    consistent: Annotated[
        bool, typer.Option("--consistent", help="At the end make the result, reduced again, equal the picture.")
    ] = False,
    seed: Seed = 0,
    adapt: Adapt = None,
    neighbours: Neighbours = None,
    adapt_steps: AdaptSteps = None,
    adapt_lr: AdaptLr = None,
    adapt_crop: AdaptCrop = None,
    adapt_attention: AdaptAttention = False,
    adapter: AdapterFile = None,
    save_adapter: SaveAdapter = None,
    tile: Tile = None,
    max_side: Reduce = None,
    depth: Depth = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Make pictures four times as large, with the Stable Diffusion x4 upscaler.

    pellucid upscale photo.png --model stable-diffusion-x4-upscaler -o large.png
    """
    from pellucid.cli.adapting import places
    from pellucid.cli.inputs import jobs
    from pellucid.errors import ConfigError
    from pellucid.stable import Upscaler
    from pellucid.stable.command import Outputs, Request, perform
    from pellucid.stable.folder import UPSCALER, require_model
    from pellucid.stable.learning import Learning

    learning = Learning.of(adapt, neighbours, adapt_steps, adapt_lr, adapt_crop, adapt_attention, adapter, save_adapter)
    request = Request(
        model=require_model(model, UPSCALER),
        prompt=prompt,
        negative=negative,
        guidance=guidance,
        nfe=nfe,
        eta=eta,
        seed=seed,
        tile=tile,
        max_side=max_side,
        device=device,
        precision=precision,
        learning=learning,
    )
    pairs = jobs(pictures, output, "upscaled", depth)
    adapters = places(learning.asked if learning else None, pairs)
    request.check()
    loaded = Upscaler.load(request.model, request.where, request.autocast)
    if not 0 <= noise_level <= loaded.max_noise_level:
        raise ConfigError(f"--noise-level must be from 0 to {loaded.max_noise_level}, not {noise_level}")
    words = {"noise_level": noise_level, "consistent": consistent}

    def prepare(job: Job, picture: Picture) -> Task:
        return task(loaded, request, picture, words)

    perform(request, pairs, Outputs(depth, dry_run, json, adapters), prepare)


def task(model: Upscaler, request: Request, picture: Picture, words: dict[str, Any]) -> Task:
    """One picture to be upscaled."""
    from dataclasses import replace

    from torch import nn

    from pellucid.images.picture import resize
    from pellucid.loop import Callback, Result
    from pellucid.noise import SeededNoise
    from pellucid.operators.resize import Bicubic
    from pellucid.stable import UpscaleLoss
    from pellucid.stable.adaptation import CROP
    from pellucid.stable.command import Task

    model = replace(model, parts=request.cut(model.parts))
    c, h, w = picture.pixels.shape
    shape, y = (c, h * model.factor, w * model.factor), picture.pixels[None].clamp(0, 1)
    options: dict[str, Any] = {
        "prompt": request.prompt,
        "negative": request.negative,
        "guidance": request.guidance,
        "noise_level": words["noise_level"],
    }

    def run(network: nn.Module, watch: Callback) -> Result:
        result = model.with_network(network).upscale(
            y, seeds=request.seed, steps=request.nfe, eta=request.eta, callback=watch, **options
        )
        if not words["consistent"]:
            return result
        a, x = Bicubic(shape, model.factor), result.image.cpu()
        return replace(result, image=x + a.pinv(y - a(x)))

    return Task(
        "upscaled",
        picture,
        shape,
        shape,
        model.parts,
        words,
        lambda index, k: index.search_pictures(resize(y[0], shape[1:])[None], k),
        lambda pictures: UpscaleLoss(model, pictures, request.learning.crop if request.learning else CROP),
        run,
        lambda tiles: model.prior(y[..., : tiles.side, : tiles.side], SeededNoise([request.seed]), **options),
    )


upscale.__doc__ = f"{upscale.__doc__}\n\n{NOTICE}"
