"""The work of `pellucid demo`: a packaged photograph, degraded and restored; nothing is fetched or opened."""

from __future__ import annotations

from pathlib import Path

import torch

from pellucid.cli.case import Case
from pellucid.cli.console import NOTICE, duration, note, say
from pellucid.cli.degrading import Degradation
from pellucid.cli.restoring import psnr, restore
from pellucid.cli.saving import resolved, texts
from pellucid.cli.settings import Request, understand
from pellucid.errors import ImageFileError
from pellucid.images import Picture, read, write
from pellucid.zoo import example

OPERATOR, NOISE, METHOD, NFE = "gaussian-blur:std=2", 0.02, "ddrm", 20
GAP = 8  # white pixels between the pictures


def demonstrate(out: Path, seed: int) -> None:
    """Writes before.png, after.png, truth.png and demo.png, which has the three side by side.

    Raises:
        PriorError: the shipped prior or the example is not installed.
        ImageFileError: the folder cannot be written to.
    """
    truth = read(example())
    setup = understand(Request(OPERATOR, NOISE, METHOD, seed=seed, nfe=NFE))
    before = Picture(Degradation(OPERATOR, NOISE, seed).measure(truth.pixels))
    case = Case.make(setup, before)
    note(f"restoring {OPERATOR} with noise {NOISE:g}: {METHOD}, about {duration(case.predicted_seconds())} ...")
    restored = restore(case, "demo", quiet=False)
    after = Picture(restored.mean)

    _make(out)
    settings = resolved(case)
    for name, picture in (("truth", truth), ("before", before), ("after", after), ("demo", _row(before, after, truth))):
        write(out / f"{name}.png", picture, "8", texts(settings, seed, name))
    say(f"before  {psnr(before.pixels, truth.pixels):.2f} dB PSNR  {out / 'before.png'}")
    say(f"after   {psnr(after.pixels, truth.pixels):.2f} dB PSNR  {out / 'after.png'}")
    say(f"before | after | truth         {(out / 'demo.png').resolve()}")
    say(f"{restored.nfe} network calls, {duration(restored.seconds)}. {NOTICE}")


def _row(*pictures: Picture) -> Picture:
    height = pictures[0].pixels.shape[1]
    gap = torch.ones(3, height, GAP)
    parts = [part for picture in pictures for part in (picture.pixels, gap)]
    return Picture(torch.cat(parts[:-1], 2))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageFileError(f"cannot make the folder {folder}: {error.strerror}") from error
