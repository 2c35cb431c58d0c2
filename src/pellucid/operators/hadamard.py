"""Compressed sensing by Walsh-Hadamard coefficients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from pellucid.errors import OperatorError, ShapeError
from pellucid.operators.base import Spectral
from pellucid.operators.parameters import picture_shape
from pellucid.typing import Shape


class WalshHadamard(Spectral):
    """y = a random choice of the Walsh-Hadamard coefficients of every channel, the same for all channels (DDRM's CS).

    The transform is orthonormal, of the picture read row by row, in Hadamard's order; so the singular values are 1 for
    the measured coefficients and 0 for the others, and the pseudo-inverse is the adjoint.

    Args:
        image_shape: (c, h, w); h w must be a power of two.
        fraction: of the coefficients that is measured: y is (c, round(fraction h w)).
        seed: of the order that they are taken in; a list for one an image.
        order: the order itself, (h w,) or (b, h w), instead of a seed.
        rcond: without effect: all singular values are 1 or 0.

    Raises:
        ShapeError: h w is not a power of two; the text names the nearest square that fits.
        OperatorError: the fraction is not in (0, 1], or the order is not one of all the coefficients.
    """

    def __init__(
        self,
        image_shape: Shape,
        fraction: float = 0.25,
        *,
        seed: int | Sequence[int] = 0,
        order: Tensor | None = None,
        rcond: float = 1e-6,
    ) -> None:
        c, h, w = picture_shape(image_shape)
        n = h * w
        if n & (n - 1):
            side = 2 ** round(torch.tensor(float(n)).log2().item() / 2)
            raise ShapeError(f"{h} x {w} is not a power of two of pixels; the nearest square that is: {side} x {side}")
        if not 0 < fraction <= 1:
            raise OperatorError(f"the measured fraction is above 0 and at most 1, not {fraction:g}")
        order = _orders(n, seed) if order is None else order.detach().cpu().long()
        if order.shape[-1] != n or not (order.sort(-1).values == torch.arange(n)).all():
            raise OperatorError(f"the order must hold every one of {n} coefficients once")
        super().__init__(image_shape, (c, max(1, round(fraction * n))), len(order) if order.ndim == 2 else None, rcond)
        self.hold("order", order if order.ndim == 2 else order[None])

    def _derive(self) -> None:
        _, h, w = self.image_shape
        measured = torch.arange(h * w, device=self.get_buffer("order").device) < self.measurement_shape[1]
        self.hold("singular", measured.double().reshape(1, 1, h, w), derived=True)

    def singular_values(self, like: Tensor) -> Tensor:
        """1 for the measured coefficients, which come first, 0 for the others: (1, 1, h, w)."""
        return self.constant("singular", like)

    def _order(self, like: Tensor) -> Tensor:
        c, h, w = self.image_shape
        return self.constant("order", like)[:, None].expand(len(like), c, h * w)

    def _to_spectrum(self, x: Tensor) -> Tensor:
        return hadamard(x.flatten(2)).gather(2, self._order(x)).reshape(x.shape)

    def _from_spectrum(self, c: Tensor) -> Tensor:
        flat = c.flatten(2)
        return hadamard(torch.zeros_like(flat).scatter(2, self._order(c), flat)).reshape(c.shape)

    def _measured_to_spectrum(self, y: Tensor) -> Tensor:
        _, h, w = self.image_shape
        return pad(y, (0, h * w - y.shape[2])).reshape(len(y), *self.image_shape)

    def _spectrum_to_measured(self, c: Tensor) -> Tensor:
        return c.flatten(2)[..., : self.measurement_shape[1]]


def hadamard(x: Tensor) -> Tensor:
    """The orthonormal Walsh-Hadamard transform of the last dimension, 2^k long; its own inverse."""
    shape, n = x.shape, x.shape[-1]
    half = 1
    while half < n:
        pairs = x.reshape(*shape[:-1], n // (2 * half), 2, half)
        first, second = pairs.unbind(-2)
        x = torch.stack((first + second, first - second), -2)
        half *= 2
    return x.reshape(shape) / n**0.5


def _orders(n: int, seed: int | Sequence[int]) -> Tensor:
    if isinstance(seed, int):
        return torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    return torch.stack([_orders(n, s) for s in seed])
