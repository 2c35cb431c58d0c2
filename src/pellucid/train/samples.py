"""Sample grids: what a network does while it trains, as a PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pellucid.images.atomic import replacing


def save_grid(images: Tensor, path: Path) -> Tensor:
    """(n, c, h, w) in [0, 1] as one PNG of about square arrangement, written beside and renamed; returns the picture.

    Returns:
        (c, rows h, columns w) in [0, 1]; pictures that fill no row are left out.
    """
    columns = max(1, round(len(images) ** 0.5))
    rows = [torch.cat(list(row), dim=2) for row in images.split(columns) if len(row) == columns]
    grid = torch.cat(rows, dim=1).float().clamp(0, 1).cpu()
    array = grid.mul(255).round().byte().permute(1, 2, 0).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        Image.fromarray(np.ascontiguousarray(array.squeeze(-1) if array.shape[-1] == 1 else array)).save(partial)
    return grid
