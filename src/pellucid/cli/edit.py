"""`pellucid edit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pellucid.cli.console import NOTICE
from pellucid.cli.options import AdapterFile, AdaptLr, Depth, Device, Json, Output, SaveAdapter, Seed
from pellucid.cli.upscale import (
    AdaptAttention,
    AdaptCrop,
    AdaptSteps,
    DryRun,
    Eta,
    Negative,
    Neighbours,
    Precision,
    Reduce,
    Steps,
    Tile,
)

Adapt = Annotated[
    str | None,
    typer.Option(
        metavar="INDEX",
        help="Adapt the network first (ADIR): to those pictures of `pellucid index build` that the words fit best.",
        show_default=False,
    ),
]

if TYPE_CHECKING:
    from torch import Tensor

    from pellucid.cli.inputs import Job
    from pellucid.images import Picture
    from pellucid.prior.diffusion import DiffusionPrior
    from pellucid.stable import Inpainter
    from pellucid.stable.command import Request, Task
    from pellucid.stable.tiles import Tiles


def edit(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The picture to change.", show_default=False)],
    mask: Annotated[
        Path, typer.Option("--mask", "-m", help="A picture of the same size: white where it is to be made anew.")
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            help="Folder of a Stable Diffusion inpainting model: docs/stable-diffusion.md.",
            show_default=False,
        ),
    ] = None,
    prompt: Annotated[
        str, typer.Option("--prompt", "-p", help="What is to be there, in words; without, whatever fits.")
    ] = "",
    output: Output = None,
    negative: Negative = "",
    guidance: Annotated[float, typer.Option(help="How closely the words are followed; 1: no guidance.")] = 7.5,
    nfe: Steps = 50,
    eta: Eta = 0.0,
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
    """Make a part of a picture anew by words, with Stable Diffusion; outside of the mask it stays as it is.

    pellucid edit photo.png --mask mask.png --prompt "a red boat" --model stable-diffusion-inpainting -o edited.png
    """
    from pellucid.cli.adapting import places
    from pellucid.cli.inputs import jobs
    from pellucid.errors import ConfigError, ImageFileError
    from pellucid.stable import Inpainter
    from pellucid.stable.command import Outputs, Request, perform, read_photo
    from pellucid.stable.folder import INPAINTER, require_model
    from pellucid.stable.learning import Learning

    learning = Learning.of(adapt, neighbours, adapt_steps, adapt_lr, adapt_crop, adapt_attention, adapter, save_adapter)
    request = Request(
        model=require_model(model, INPAINTER),
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
    if image.is_dir():
        raise ImageFileError(f"{image} is a folder; a mask belongs to one picture")
    pairs = jobs([image], output, "edited", depth)
    adapters = places(learning.asked if learning else None, pairs)
    request.check()
    if adapt is not None and not prompt.strip():
        raise ConfigError("--adapt looks for pictures of what the words say: give --prompt too")
    if pairs[0].target.resolve() == mask.resolve():
        raise ImageFileError(f"{mask} is the mask and would be overwritten; choose another output")
    hole = read_mask(mask, max_side)
    require_fit(hole, read_photo(image, max_side))
    loaded = Inpainter.load(request.model, request.where, request.autocast)

    def prepare(job: Job, picture: Picture) -> Task:
        return task(loaded, request, picture, hole, {"mask": str(mask)})

    perform(request, pairs, Outputs(depth, dry_run, json, adapters), prepare)


def read_mask(path: Path, max_side: int | None) -> Tensor:
    """(1, 1, h, w) of 0 and 1; what is transparent is 0.

    Raises:
        ImageFileError: it cannot be read.
        ProblemError: it is no picture.
    """
    from pellucid.stable.command import read_photo

    picture = read_photo(path, max_side)
    grey = picture.pixels.mean(0, keepdim=True)
    if picture.alpha is not None:
        grey = grey * picture.alpha
    return (grey > 0.5)[None].float()


def require_fit(mask: Tensor, picture: Picture) -> None:
    """Whether a mask is one for this picture.

    Raises:
        ShapeError: it has another size.
        ConfigError: it is empty.
    """
    from pellucid.errors import ConfigError, ShapeError

    (a, b), (c, d) = mask.shape[-2:], picture.pixels.shape[-2:]
    if (a, b) != (c, d):
        raise ShapeError(f"the mask has {b} x {a} pixels and the picture {d} x {c} (width x height); make them equal")
    if not bool(mask.any()):
        raise ConfigError("the mask is black all over: nothing is to be made anew; white is where it is")


def task(model: Inpainter, request: Request, picture: Picture, mask: Tensor, words: dict[str, Any]) -> Task:
    """One picture to be edited."""
    from dataclasses import replace

    import torch
    from torch import nn

    from pellucid.loop import Callback, Result
    from pellucid.stable import InpaintLoss
    from pellucid.stable.adaptation import CROP
    from pellucid.stable.command import Task
    from pellucid.stable.inpainter import surroundings

    model = replace(model, parts=request.cut(model.parts))
    image = picture.pixels[None]
    options: dict[str, Any] = {
        "prompt": request.prompt,
        "negative": request.negative,
        "guidance": request.guidance,
    }

    factor = model.parts.codec.factor
    rows, columns = surroundings(mask, model.parts.tiles.side * factor)
    part, hole = image[..., rows, columns], mask[..., rows, columns]

    def run(network: nn.Module, watch: Callback) -> Result:
        result = model.with_network(network).edit(
            part, hole, seeds=request.seed, steps=request.nfe, eta=request.eta, callback=watch, **options
        )
        whole = image.clone()
        whole[..., rows, columns] = result.image.cpu()
        return replace(result, image=whole)

    def trial(tiles: Tiles) -> DiffusionPrior:
        tile = part[..., : tiles.side * factor, : tiles.side * factor]
        return model.prior(tile, torch.ones_like(tile[:, :1]), **options)

    return Task(
        "edited",
        picture,
        tuple(picture.pixels.shape),
        tuple(part.shape[1:]),
        model.parts,
        {
            **words,
            "masked": round(float(mask.mean()), 4),
            "seen": [columns.start, rows.start, columns.stop, rows.stop],
        },
        lambda index, k: index.search_text(request.prompt, k),
        lambda pictures: InpaintLoss(
            model, pictures, request.prompt, crop=request.learning.crop if request.learning else CROP
        ),
        run,
        trial,
    )


edit.__doc__ = f"{edit.__doc__}\n\n{NOTICE}"
