"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Inputs = Annotated[
    list[Path],
    typer.Argument(
        metavar="PICTURE...",
        help="Pictures, CT slices (.dcm, .npz), measurements (.npy, .npz), or folders of them.",
        show_default=False,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="A file; for several pictures an existing folder.", show_default=False),
]
OperatorText = Annotated[
    str,
    typer.Option(
        "--operator",
        "-A",
        help="What happened to the picture; see `pellucid list operators`. A number may be ?, docs/blind.md.",
    ),
]
Noise = Annotated[
    float, typer.Option("--noise", "-n", "--noise-std", help="Standard deviation of the noise; white is 1.")
]
Gain = Annotated[float | None, typer.Option(help="Poisson noise of variance gain * A(x), beside --noise: 1 / photons.")]
Photons = Annotated[float | None, typer.Option(help="The same, said as the photons that a value of 1 counts.")]
Window = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|C,W",
        help="Hounsfield units shown in a PNG of CT: lung, soft-tissue, bone, brain, abdomen, or centre,width.",
    ),
]
KeepIdentity = Annotated[
    bool, typer.Option("--keep-identity", help="Copy patient and study attributes from DICOM to DICOM.")
]
Seed = Annotated[int, typer.Option(help="Of all random numbers; every picture of a folder gets the same.")]
Depth = Annotated[str, typer.Option(help="Of the written values: auto, 8, 16 or float (TIFF only).")]
MaxSide = Annotated[
    int | None,
    typer.Option(help="First reduce larger pictures to this side; operator and noise then describe the reduced one."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a picture on stdout, nothing else.")]
PriorName = Annotated[str, typer.Option("--prior", help="A name from `pellucid list priors`, or a folder.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps; auto takes a GPU where there is one.")]
Nfe = Annotated[int | None, typer.Option(help="Network calls; the method's own number if not given.")]
Adapt = Annotated[
    str | None,
    typer.Option(
        metavar="INDEX",
        help="Adapt the prior to each picture (ADIR): to those of `pellucid index build` that are most like it.",
    ),
]
Neighbours = Annotated[int | None, typer.Option(help="How many of the index's pictures are learned from; 20.")]
AdaptSteps = Annotated[
    int | None, typer.Option(help="Of the adaptation; 100. --seconds limits what comes after it alone.")
]
AdaptLr = Annotated[float | None, typer.Option(help="Its rate; 1e-3.")]
AdaptOwn = Annotated[
    bool, typer.Option("--adapt-own", help="Adapt to the measurement itself, too; alone without --adapt.")
]
AdaptQuery = Annotated[
    str | None,
    typer.Option(help="What is looked for: y as a picture; x, a first reconstruction; both, the mean of the two."),
]
AdapterFile = Annotated[
    Path | None, typer.Option("--adapter", help="An adapter that --save-adapter wrote, instead of learning one.")
]
SaveAdapter = Annotated[
    Path | None,
    typer.Option(help="Where the adapter goes: a .safetensors file; for several pictures an existing folder."),
]
AdaptCache = Annotated[
    bool,
    typer.Option(
        "--adapt-cache/--no-adapt-cache",
        help="Keep adapters in $PELLUCID_CACHE/adapters (~/.cache/pellucid), and take those that are there.",
    ),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the method; repeatable.")
]
