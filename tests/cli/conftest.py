"""Pictures of a few pixels and a prior in closed form, so that a whole command takes milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import pellucid.zoo
from pellucid.cli import run
from pellucid.errors import UnknownNameError
from pellucid.prior.diffusion import DiffusionPrior


def shrink(x: Tensor, sigma: Tensor) -> Tensor:
    """The denoiser of independent pixels of standard deviation 1/2 in [-1, 1]."""
    return x / (1 + 4 * sigma.to(x)[:, None, None, None] ** 2)


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Ran]


@pytest.fixture
def pellucid_(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command line with the toy prior in place of "photo"."""
    shipped = pellucid.zoo.load

    def load(name: str, *rest: Any, **options: Any) -> DiffusionPrior:
        if name == "photo":
            return DiffusionPrior(shrink, predicts="denoiser", channels=3)
        return shipped(name, *rest, **options)

    monkeypatch.setattr(pellucid.zoo, "load", load)

    def command(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        code = run([str(a) for a in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return command


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A smooth colour picture of 24 x 32 pixels."""
    y, x = np.mgrid[:24, :32] / 32
    planes = [0.5 + 0.4 * np.sin(5 * x + k) * np.cos(4 * y) for k in range(3)]
    path = tmp_path / "photo.png"
    Image.fromarray((np.stack(planes, 2) * 255).astype(np.uint8)).save(path)
    return path


def pixels(path: Path) -> Tensor:
    with Image.open(path) as image:
        return torch.from_numpy(np.asarray(image).astype(np.float32))


__all__ = ["Command", "Ran", "UnknownNameError", "pixels"]
