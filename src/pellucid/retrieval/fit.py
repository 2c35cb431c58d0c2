"""Pictures of any size, made the one size that an embedder takes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pellucid.errors import ShapeError

THUMBNAIL = 16  # side in pixels of what is kept of every picture to tell copies


def fit(x: Tensor, side: int) -> Tensor:
    """The largest square in the middle of the pictures, reduced or enlarged to `side` (bicubic, without aliasing).

    Pictures that are squares of that size are returned as they are, so that fitting twice is fitting once.

    Args:
        x: (b, 1 or 3, h, w) in [0, 1]; what is outside of it is clipped.
        side: in pixels.

    Returns:
        (b, 3, side, side) float32.

    Raises:
        ShapeError: it is no batch of pictures, or holds NaN.
    """
    if x.ndim != 4 or x.shape[1] not in (1, 3) or 0 in x.shape:
        raise ShapeError(f"embedders take pictures of (b, 1 or 3, h, w), not {tuple(x.shape)}")
    x = x.detach().float()
    if not bool(torch.isfinite(x).all()):
        raise ShapeError("the picture holds NaN or infinite values, which no embedding has a place for")
    height, width = x.shape[-2:]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    x = x[..., top : top + short, left : left + short].clamp(0, 1)
    if short != side:
        x = interpolate(x, (side, side), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    return x.expand(-1, 3, -1, -1)


def thumbnails(x: Tensor) -> Tensor:
    """(b, 1 or 3, h, w) in [0, 1] -> (b, 3, 16, 16) uint8; see `fit`."""
    return (255 * fit(x, THUMBNAIL)).round().to(torch.uint8)
