"""What an adaptation learns from: random crops of a few pictures, in the prior's space."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pellucid.account import uncounted
from pellucid.errors import CompatibilityError, ShapeError
from pellucid.prior.base import Prior
from pellucid.typing import Shape


class Examples:
    """Random crops of pictures z_k, each as likely as the next; encoded once.

    Args:
        pictures: (c, h, w) in [0, 1] each, of any sizes.
        prior: whose codec encodes them.
        channels: of the pictures that the prior is to restore: 1 or 3. Colour pictures become grey for grey ones.
        crop: side of a crop, in units of the prior's space. Smaller pictures are left out, unless all are smaller:
            then crops are as large as the largest picture allows.

    Raises:
        CompatibilityError: there is no picture, or pictures have other channels than 1 or 3.
        ShapeError: a picture has another number of dimensions or channels, or other values than a picture's, or all
            are smaller than the network takes.
    """

    def __init__(self, pictures: Sequence[Tensor], prior: Prior, channels: int, crop: int = 64) -> None:
        if not pictures:
            raise CompatibilityError("an adaptation needs at least one picture to learn from")
        if channels not in (1, 3):
            raise CompatibilityError(f"priors are adapted to pictures of 1 or 3 channels, not of {channels}")
        multiple = int(getattr(prior, "multiple", 1))
        encoded = []
        with torch.no_grad(), uncounted():
            for number, picture in enumerate(pictures):
                encoded.append(prior.codec.encode(_toned(picture, channels, number)[None])[0])
        largest = max(min(z.shape[-2:]) for z in encoded)
        side = min(crop, largest) // multiple * multiple
        if side < 1:
            raise ShapeError(
                f"the pictures to adapt to are at most {largest} wide in the prior's space, and the network takes "
                f"{multiple} at least; take larger ones"
            )
        self.encoded, self.side = [z for z in encoded if min(z.shape[-2:]) >= side], side

    def batch(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, ...) crops of pictures drawn with replacement."""
        return torch.stack([self._crop(generator) for _ in range(count)])

    def _crop(self, generator: torch.Generator) -> Tensor:
        def draw(below: int) -> int:
            return int(torch.randint(below, (), generator=generator))

        z = self.encoded[draw(len(self.encoded))]
        top, left = (draw(length - self.side + 1) for length in z.shape[-2:])
        return z[..., top : top + self.side, left : left + self.side]

    def split(self, held_out: int) -> tuple[Examples, Examples]:
        """Those to train on, and the last `held_out` of them."""
        first, last = object.__new__(Examples), object.__new__(Examples)
        first.encoded, last.encoded = self.encoded[:-held_out], self.encoded[-held_out:]
        first.side = last.side = self.side
        return first, last


def _toned(picture: Tensor, channels: int, number: int) -> Tensor:
    shape: Shape = tuple(picture.shape)
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ShapeError(f"picture {number} to adapt to has the shape {shape}; (1 or 3, height, width) is wanted")
    if not picture.is_floating_point() or not bool(((picture > -1) & (picture < 2)).all()):
        raise ShapeError(f"picture {number} to adapt to is none of floats in [0, 1]; divide 8-bit values by 255")
    if channels == 1:
        return picture.mean(0, keepdim=True)
    return picture.expand(3, -1, -1)
