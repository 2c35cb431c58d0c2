"""Random masks, as inpainting networks are trained with."""

from __future__ import annotations

import torch
from torch import Tensor

EVERYTHING = 0.25  # share of masks that cover the whole picture, as Stable Diffusion's training had
MOST = 5  # boxes or strokes of a mask


def random_mask(height: int, width: int, generator: torch.Generator) -> Tensor:
    """(1, height, width) of 0 and 1, 1 where the picture is to be made: never empty.

    With probability 1/4 everything, else one to five pieces, each a box of up to half the sides or a stroke with round
    ends, of up to a quarter of the shorter side in width.

    Args:
        height, width: in pixels.
        generator: on the CPU.
    """
    if _uniform(generator) < EVERYTHING:
        return torch.ones(1, height, width)
    mask = torch.zeros(1, height, width)
    for _ in range(_whole(1, MOST, generator)):
        piece = _box if _uniform(generator) < 0.5 else _stroke
        mask = torch.maximum(mask, piece(height, width, generator))
    return mask


def _box(height: int, width: int, generator: torch.Generator) -> Tensor:
    mask = torch.zeros(1, height, width)
    tall, wide = (_whole(1, max(1, side // 2), generator) for side in (height, width))
    top, left = _whole(0, height - tall, generator), _whole(0, width - wide, generator)
    mask[:, top : top + tall, left : left + wide] = 1
    return mask


def _stroke(height: int, width: int, generator: torch.Generator) -> Tensor:
    """All pixels within a radius of a line between two random pixels."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([y, x], -1).float()
    first, second = (
        torch.tensor([_whole(0, height - 1, generator), _whole(0, width - 1, generator)], dtype=torch.float32)
        for _ in range(2)
    )
    radius = max(0.5, min(height, width) / 8 * _uniform(generator))
    way = second - first
    share = ((pixels - first) @ way / (way @ way).clamp(min=1e-6)).clamp(0, 1)
    near = (pixels - first - share[..., None] * way).norm(dim=-1) <= radius
    return near[None].float()


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))


def _whole(low: int, high: int, generator: torch.Generator) -> int:
    return int(torch.randint(low, high + 1, (), generator=generator))
