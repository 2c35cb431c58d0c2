"""`pellucid restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pellucid.cli.console import NOTICE, note
from pellucid.cli.options import (
    Adapt,
    AdaptCache,
    AdapterFile,
    AdaptLr,
    AdaptOwn,
    AdaptQuery,
    AdaptSteps,
    Depth,
    Device,
    Gain,
    Inputs,
    Json,
    KeepIdentity,
    MaxSide,
    Neighbours,
    Nfe,
    Noise,
    OperatorText,
    Output,
    Photons,
    SaveAdapter,
    Seed,
    Settings,
    Window,
)


def restore(
    pictures: Inputs,
    output: Output = None,
    operator: OperatorText = "identity",
    noise: Noise = 0.0,
    gain: Gain = None,
    photons: Photons = None,
    method: Annotated[
        str,
        typer.Option("--method", "-m", help="See `pellucid list methods`; auto goes by what is known of A."),
    ] = "auto",
    prior: Annotated[
        str,
        typer.Option(
            "--prior",
            help="A name from `pellucid list priors`, or a folder; auto is photo, or the dirac prior for the operator.",
        ),
    ] = "auto",
    seed: Seed = 0,
    samples: Annotated[int, typer.Option(help="Draw several: their mean, each, and their pixelwise spread.")] = 1,
    nfe: Nfe = None,
    settings: Settings = None,
    method_config: Annotated[
        Path | None,
        typer.Option(help="Method and settings from a file of `pellucid tune`; options given here go first."),
    ] = None,
    optimise: Annotated[
        str | None,
        typer.Option(
            "--optimise",
            help="For dirac: stop where it is best for psnr or for perception, as the prior's validation found.",
        ),
    ] = None,
    tradeoff: Annotated[
        bool,
        typer.Option(
            "--tradeoff",
            help="For dirac: also draw what other stops would have given, OUTPUT.tradeoff.png; needs matplotlib.",
        ),
    ] = False,
    max_nfe: Annotated[
        float | None,
        typer.Option(help="For flash: at most so many network calls a picture, in the mean over all pictures."),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(help="Time limit a picture; what is reached is kept. For flash: aim for all pictures together."),
    ] = None,
    adapt: Adapt = None,
    neighbours: Neighbours = None,
    adapt_steps: AdaptSteps = None,
    adapt_lr: AdaptLr = None,
    adapt_own: AdaptOwn = False,
    adapt_query: AdaptQuery = None,
    adapter: AdapterFile = None,
    save_adapter: SaveAdapter = None,
    adapt_cache: AdaptCache = True,
    max_side: MaxSide = None,
    shape: Annotated[
        str | None, typer.Option(metavar="CxHxW", help="Shape of the picture, where the measurement does not tell it.")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(help="The true picture, or a folder of them by name: report the PSNR.")
    ] = None,
    depth: Depth = "auto",
    window: Window = None,
    keep_identity: KeepIdentity = False,
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    save_memory: Annotated[
        bool, typer.Option("--save-memory", help="Gradients through a latent prior's decoder: less memory, more time.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False,
    json: Json = False,
) -> None:
    """Restore pictures: each is a measurement y = A(x) + noise, the result is an x."""
    from pellucid.cli.adapting import places, wanted
    from pellucid.cli.batch import Outputs, restore_all
    from pellucid.cli.drawing import require_matplotlib
    from pellucid.cli.inputs import jobs, require_identity
    from pellucid.cli.settings import Request, configured, poisson_gain, understand
    from pellucid.errors import ConfigError
    from pellucid.images.hu import display_window

    if method_config is not None:
        method, nfe, settings = configured(method_config, method, nfe, settings or [])
    request = Request(
        operator=operator,
        noise=noise,
        method=method,
        prior=prior,
        seed=seed,
        nfe=nfe,
        samples=samples,
        settings=tuple(settings or ()),
        seconds=seconds,
        max_side=max_side,
        shape=shape,
        device=device,
        precision=precision,
        gain=poisson_gain(gain, photons),
        save_memory=save_memory,
        max_nfe=max_nfe,
        optimise=optimise,
        adapt=wanted(
            adapt, neighbours, adapt_steps, adapt_lr, adapt_own, adapt_query, adapter, save_adapter, adapt_cache
        ),
    )
    shown = None if window is None else display_window(window)
    pairs = jobs(pictures, output, "restored", depth)
    require_identity(pairs, keep_identity)
    if tradeoff:
        require_matplotlib()
    adapters = places(request.adapt, pairs)
    setup = understand(request, pairs[0].source)
    if tradeoff and setup.request.method != "dirac":
        raise ConfigError("--tradeoff draws the way of dirac: -m dirac")
    if setup.request.prior != prior and setup.request.method == "dirac" and not json:
        note(f"prior {setup.request.prior}, which undoes {setup.operator_text}")
    restore_all(setup, pairs, Outputs(depth, compare, dry_run, json, shown, keep_identity, tradeoff, adapters))


restore.__doc__ = f"{restore.__doc__}\n\n{NOTICE}"
