"""Functions of large pictures, evaluated in overlapping tiles: for networks that see a picture beside x_t, and codecs.

    F(x) = sum_i w_i P_i^T f(P_i x),      sum_i w_i = 1, w_i smooth and zero near the inner edges of tile i,

with the tiles and the weights of `prior.tiled`. An estimate x_0 is affine in what the network gives, so that blending
the network's output blends the estimates: no seam can come but from two tiles that disagree, and these fade into each
other. Noise is drawn, and steps are made, on the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from pellucid.account import count_decode, count_encode, uncounted
from pellucid.codec.autoencoder import AutoencoderCodec
from pellucid.errors import CompatibilityError
from pellucid.prior.diffusion import pad_to_multiple
from pellucid.prior.tiled import Box, Span, spans, window


@dataclass(frozen=True)
class Tiles:
    """How a large picture is cut.

    Args:
        side: of a tile, in latents; larger pictures are cut.
        overlap: of neighbours at least, in latents.

    Raises:
        CompatibilityError: the side is not larger than twice the overlap.
    """

    side: int
    overlap: int

    def __post_init__(self) -> None:
        if not 0 < 2 * self.overlap < self.side:
            raise CompatibilityError(
                f"a tile must be larger than twice the overlap, not {self.side} and {self.overlap} latents"
            )

    def boxes(self, height: int, width: int, align: int = 1) -> list[Box]:
        """Rows and columns of every tile; begins are multiples of `align`."""
        rows, columns = (spans(side, self.side, self.overlap, align) for side in (height, width))
        return list(product(rows, columns))

    def blended(
        self,
        function: Callable[[Tensor], Tensor],
        x: Tensor,
        *,
        align: int = 1,
        into: int = 1,
        out: int = 1,
    ) -> Tensor:
        """F(x), see above; f(x) itself where one tile holds x.

        Args:
            function: f, (b, c, into h, into w) -> (b, d, out h, out w), h and w being in latents.
            x: (b, c, into H, into W).
            align: tiles begin at multiples of it: what a network halves, it halves at the same places.
            into: entries of x to a latent along a side; of a picture, the codec's factor.
            out: likewise, of F(x).
        """
        height, width = (side // into for side in x.shape[-2:])
        boxes = self.boxes(height, width, align)
        if len(boxes) == 1:
            return function(x)
        total: Tensor | None = None
        norm = torch.zeros(height * out, width * out, dtype=x.dtype, device=x.device)
        for rows, columns in boxes:
            part = function(x[..., _scaled(rows, into), _scaled(columns, into)]).to(x.dtype)
            weight = self._weight(rows, height, out).to(norm)[:, None] * self._weight(columns, width, out).to(norm)
            if total is None:
                total = part.new_zeros(*part.shape[:2], *norm.shape)
            place = (..., _scaled(rows, out), _scaled(columns, out))
            total[place] = total[place] + weight.to(part) * part
            norm[place] += weight
        assert total is not None
        return total / norm.to(total)

    def _weight(self, span: Span, side: int, scale: int) -> Tensor:
        begin, end = span
        return window((begin * scale, end * scale), side * scale, self.overlap * scale)


class TiledCodec(AutoencoderCodec):
    """An autoencoder that encodes and decodes large pictures in overlapping tiles; one pass in the counts.

    Args:
        module: see `AutoencoderCodec`.
        tiles: how pictures are cut; by default into 1024 x 1024 pixels that overlap by 256. Normalisations see a tile
            alone, so that the fewer tiles there are, the nearer the result is to that of the whole.
        options: others of `AutoencoderCodec`.
    """

    def __init__(self, module: Any, tiles: Tiles | None = None, **options: Any) -> None:
        super().__init__(module, **options)
        self.tiles = tiles or Tiles(1024 // self.factor, 256 // self.factor)

    def encode(self, image: Tensor) -> Tensor:
        image, encode = pad_to_multiple(image, self.factor), super().encode
        count_encode()
        with uncounted():
            return self.tiles.blended(encode, image, into=self.factor)

    def decode(self, z: Tensor) -> Tensor:
        decode = super().decode
        if len(self.tiles.boxes(*z.shape[-2:])) == 1:
            return decode(z)
        count_decode()
        with uncounted():
            return self.tiles.blended(decode, z, out=self.factor)


def _scaled(span: Span, scale: int) -> slice:
    return slice(span[0] * scale, span[1] * scale)
