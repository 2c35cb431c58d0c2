"""Sample grids: what the prior draws by itself, as a PNG, while it trains."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pellucid.loop import reconstruct
from pellucid.methods.unconditional import unconditional
from pellucid.nn.edm import EDMDenoiser
from pellucid.operators.diagonal import Identity
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.problem import Problem


def sample_grid(denoiser: EDMDenoiser, path: Path, *, count: int = 9, size: int = 64, nfe: int = 30) -> None:
    """Draws `count` pictures (seeds 0, 1, ...) by DDIM and saves them side by side, written beside and renamed."""
    prior = DiffusionPrior(denoiser, predicts="denoiser")
    nothing = Problem(torch.zeros(count, 3, size, size), Identity((3, size, size)))
    save_grid(reconstruct(nothing, prior, unconditional(nfe, eta=0.5)).image, path)


def save_grid(images: Tensor, path: Path) -> None:
    """(n, 3, h, w) in [0, 1] as one PNG of about square arrangement."""
    columns = max(1, round(len(images) ** 0.5))
    rows = [torch.cat(list(row), dim=2) for row in images.split(columns) if len(row) == columns]
    picture = torch.cat(rows, dim=1).clamp(0, 1).mul(255).round().byte().permute(1, 2, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.png")
    Image.fromarray(np.ascontiguousarray(picture.cpu().numpy())).save(partial)
    os.replace(partial, path)
