"""The work of `pellucid demo`: a packaged photograph, degraded twice and restored; nothing is fetched or opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from pellucid.cli.case import Case
from pellucid.cli.console import NOTICE, duration, note, say
from pellucid.cli.degrading import Degradation
from pellucid.cli.restoring import Restored, psnr, restore
from pellucid.cli.saving import resolved, texts
from pellucid.cli.settings import Request, understand
from pellucid.errors import ImageFileError
from pellucid.images import Picture, read, write
from pellucid.zoo import example

NOISE = 0.02
GAP = 8  # white pixels between the pictures


@dataclass(frozen=True)
class Scene:
    """One row of the picture."""

    name: str
    operator: str
    method: str
    nfe: int = 30


SCENES = (
    Scene("blur", "gaussian-blur:std=2", "ddrm"),
    Scene("holes", "mask:random=0.7,seed=1", "ssd+"),
)


def demonstrate(out: Path, seed: int) -> None:
    """Writes truth.png, before and after of every scene, and demo.png with before | after | truth in a row each.

    Raises:
        PriorError: the shipped prior or the example is not installed.
        ImageFileError: the folder cannot be written to.
    """
    _make(out)
    truth = read(example())
    write(out / "truth.png", truth, "8")
    rows = [_play(scene, truth, out, seed) for scene in SCENES]
    write(out / "demo.png", _glued(rows, 1), "8", {"pellucid:notice": NOTICE})
    say(f"\nbefore | after | truth: {(out / 'demo.png').resolve()}")
    say(NOTICE)


def _play(scene: Scene, truth: Picture, out: Path, seed: int) -> Picture:
    """One scene, from the truth to its row of three pictures."""
    request = Request(scene.operator, NOISE, scene.method, seed=seed, nfe=scene.nfe)
    before = Picture(Degradation(scene.operator, NOISE, seed).measure(truth.pixels))
    case = Case.make(understand(request), before)
    note(f"{scene.operator}, noise {NOISE:g}: {scene.method} takes about {duration(case.predicted_seconds())} ...")
    restored = restore(case, scene.name, quiet=False)
    after = Picture(restored.mean)
    settings = resolved(case)
    for name, picture in (("before", before), ("after", after)):
        write(out / f"{scene.name}-{name}.png", picture, "8", texts(settings, seed, name))
    say(_score(scene, restored, before, after, truth))
    return _glued([before, after, truth], 2)


def _score(scene: Scene, restored: Restored, before: Picture, after: Picture, truth: Picture) -> str:
    was, now = psnr(before.pixels, truth.pixels), psnr(after.pixels, truth.pixels)
    cost = f"{restored.nfe} network calls, {duration(restored.seconds)}"
    return f"{scene.name}: {was:.2f} dB PSNR before, {now:.2f} dB after ({cost})"


def _glued(pictures: list[Picture], dim: int) -> Picture:
    """In a row (dim 2) or a column (dim 1), with white between."""
    shape = list(pictures[0].pixels.shape)
    shape[dim] = GAP
    parts = [part for picture in pictures for part in (picture.pixels, torch.ones(shape))]
    return Picture(torch.cat(parts[:-1], dim))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageFileError(f"cannot make the folder {folder}: {error.strerror}") from error
