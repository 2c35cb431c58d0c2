"""Large pictures in overlapping tiles: a prior that wraps a prior.

Only the denoiser sees tiles. The noise and the measurement's consistency act on the whole picture, so a seam could come
only from two tiles' estimates that disagree, and these are blended smoothly where they overlap:

    x0(x) = sum_i w_i P_i^T x0_tile(P_i x),      sum_i w_i = 1, w_i smooth and zero near the inner edges of tile i.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, product

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pellucid.account import uncounted
from pellucid.errors import CompatibilityError
from pellucid.prior.base import Estimate, Prior, State
from pellucid.typing import Shape

MEGAPIXEL = 1_000_000
Span = tuple[int, int]
Box = tuple[Span, Span]


class TiledPrior(Prior):
    """E[x_0 | x_t] from overlapping tiles, one NFE an image and a pass over all its tiles.

    Args:
        prior: the prior of a tile.
        tile: side of a tile, in units of the prior's space.
        overlap: how far neighbours overlap at least. The outer quarter of it has no weight: there a network sees too
            little of the surroundings.
        batch: tiles denoised together.

    Raises:
        CompatibilityError: the tile is not larger than twice the overlap.
    """

    def __init__(self, prior: Prior, tile: int = 512, overlap: int = 64, batch: int = 1) -> None:
        if not 0 < 2 * overlap < tile or batch < 1:
            raise CompatibilityError(f"a tile must be larger than twice the overlap, not {tile} and {overlap}")
        self.prior, self.tile, self.overlap, self.batch = prior, tile, overlap, batch
        self.process, self.codec, self.learned_variance = prior.process, prior.codec, prior.learned_variance
        self.costs = prior.costs
        self._severity = getattr(prior, "_severity", None)  # a head that tells how degraded the whole picture is
        self.direct, self.rates = bool(getattr(prior, "direct", True)), bool(getattr(prior, "rates", False))

    def check(self, image_shape: Shape) -> None:
        """As the prior of a tile.

        Raises:
            ShapeError: see `Prior.check`.
            CompatibilityError: the network is shown the whole picture's degradation, which a tile does not have.
        """
        *lead, height, width = image_shape
        if getattr(self.prior, "lifted", False) and max(height, width) > self.tile:
            raise CompatibilityError(
                f"this dirac prior is shown how much each pixel of the whole picture lost, and takes none in tiles of "
                f"{self.tile}, such as one of {height} x {width}; make it smaller (--max-side), or take another method"
            )
        self.prior.check((*lead, min(height, self.tile), min(width, self.tile)))

    def severity(self, y: Tensor) -> Tensor:
        """See `DiracPrior.severity`: told from the whole picture, by what is not in tiles."""
        told: Tensor = self.prior.severity(y)  # type: ignore[attr-defined]
        return told

    def estimate(self, state: State, *, differentiable: bool = False) -> Estimate:
        found = super().estimate(state, differentiable=differentiable)
        tell = getattr(self.prior, "interpreted", None)  # of DiracPrior: what stands beside x0 is no variance
        told: Estimate = found if tell is None else tell(found, state)
        return told

    def boxes(self, height: int, width: int) -> list[Box]:
        """Rows and columns of every tile; those of one shape stand together."""
        # A network that halves the picture three times sees the same in a tile as in the whole only where the tile
        # begins at a multiple of eight.
        align = int(getattr(self.prior, "multiple", 1))
        pairs = product(spans(height, self.tile, self.overlap, align), spans(width, self.tile, self.overlap, align))
        return sorted(pairs, key=_size)

    def _denoise(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor | None]:
        height, width = x.shape[-2:]
        boxes = self.boxes(height, width)
        total: list[Tensor] = []
        norm = torch.zeros(height, width, dtype=x.dtype, device=x.device)
        with uncounted():
            for group in _groups(boxes, self.batch):
                tiles = torch.cat([x[..., slice(*rows), slice(*columns)] for rows, columns in group])
                outputs = self._tiles(tiles, t.repeat(len(group)), recompute=len(boxes) > len(group))
                # What a network tells beside x0 may have more channels than the picture.
                total = total or [x.new_zeros(len(x), output.shape[1], height, width) for output in outputs]
                for index, box in enumerate(group):
                    weight = self._weight(box, height, width, x)
                    _view(norm, box).add_(weight)
                    for k, output in enumerate(outputs):
                        part = output[index * len(x) : (index + 1) * len(x)]
                        total[k] = _added(total[k], box, weight * part)
        first, *rest = (part / norm for part in total)
        return first, rest[0] if rest else None

    def _tiles(self, tiles: Tensor, t: Tensor, recompute: bool) -> list[Tensor]:
        if recompute and tiles.requires_grad:
            # The graph of one group of tiles at a time: a large picture's whole graph does not fit into memory.
            x0, mix = checkpoint(self.prior._denoise, tiles, t, use_reentrant=False)
        else:
            x0, mix = self.prior._denoise(tiles, t)
        return [x0] if mix is None else [x0, mix]

    def _weight(self, box: Box, height: int, width: int, like: Tensor) -> Tensor:
        rows, columns = (
            window(span, side, self.overlap).to(like) for span, side in zip(box, (height, width), strict=True)
        )
        return rows[:, None] * columns


def spans(side: int, tile: int, overlap: int, align: int = 1) -> list[Span]:
    """Evenly spread (begin, end) that cover `side`; begins are multiples of `align`, neighbours overlap enough."""
    room, stride = (side - tile) // align * align, max(align, (tile - overlap) // align * align)
    if room <= 0:
        return [(0, side)]
    count = -(-room // stride) + 1
    begins = [i * room // (count - 1) // align * align for i in range(count)]
    return [(begin, begin + tile) for begin in begins[:-1]] + [(begins[-1], side)]


def window(span: Span, side: int, overlap: int) -> Tensor:
    """Weights along one side of a tile, float64: 0 in the outer quarter of an inner overlap, 1 from three quarters on.

    In between a raised cosine, so that two neighbours add up to one and no derivative jumps.
    """
    begin, end = span
    position = torch.arange(begin, end, dtype=torch.float64) + 0.5
    weight = torch.ones_like(position)
    for distance in ([position - begin] if begin > 0 else []) + ([end - position] if end < side else []):
        share = ((distance / overlap - 0.25) * 2).clamp(0, 1)
        weight *= (1 - torch.cos(torch.pi * share)) / 2
    return weight


def _size(box: Box) -> Span:
    (top, bottom), (left, right) = box
    return bottom - top, right - left


def _groups(boxes: list[Box], batch: int) -> Iterator[list[Box]]:
    """Up to `batch` boxes of one size at a time."""
    for _, same in groupby(boxes, key=_size):
        several = list(same)
        for first in range(0, len(several), batch):
            yield several[first : first + batch]


def _view(whole: Tensor, box: Box) -> Tensor:
    return whole[..., slice(*box[0]), slice(*box[1])]


def _added(total: Tensor, box: Box, part: Tensor) -> Tensor:
    """In place; autograd follows, since nothing needs the old values."""
    _view(total, box).add_(part)
    return total


def tiled(prior: Prior, image_shape: Shape, tile: int = 512, overlap: int = 64) -> Prior:
    """The prior itself for pictures of up to a megapixel, in tiles for larger ones."""
    height, width = image_shape[-2:]
    return prior if height * width <= MEGAPIXEL else TiledPrior(prior, tile, overlap)
