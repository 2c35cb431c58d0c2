"""Blurs by any kernel on a picture that wraps around: exact by the Fourier transform."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
from torch import Tensor
from torch.fft import fft2, irfft2, rfft2

from pellucid.operators.base import Spectral
from pellucid.operators.files import read_kernel
from pellucid.operators.kernels import prepared_kernel
from pellucid.operators.parameters import picture_shape
from pellucid.typing import Shape


class CircularBlur(Spectral):
    """y = K * x (a cross-correlation) on a picture that wraps around; exact in the basis of Hartley.

    With F the unitary Fourier transform and T = conj(F K) the transfer, A = F^H T F. The spectrum is real:
    V = Q, (Q x) = Re(F x) - Im(F x), orthogonal and symmetric; S = |T|; U = F^H (T / |T|) F Q.

    Args:
        image_shape: (c, h, w).
        kernel: (kh, kw), or (b, kh, kw) for one an image; its middle is at (kh // 2, kw // 2).
        normalise: divides the kernel by its sum.
        rcond: `pinv` leaves out singular values of at most this times the largest.

    Raises:
        OperatorError: the kernel is not finite, or sums to zero.
    """

    def __init__(self, image_shape: Shape, kernel: Tensor, *, normalise: bool = True, rcond: float = 3e-2) -> None:
        picture_shape(image_shape)
        super().__init__(image_shape, batch=len(kernel) if kernel.ndim == 3 else None, rcond=rcond)
        self.hold("kernel", prepared_kernel(kernel, normalise))

    @classmethod
    def from_file(cls, image_shape: Shape, path: str | Path, *, rcond: float = 3e-2) -> Self:
        """From a .npy array or a grey picture, divided by its sum. Raises `OperatorError`."""
        return cls(image_shape, read_kernel(path), rcond=rcond)

    def _derive(self) -> None:
        kernel = self.get_buffer("kernel")
        _, h, w = self.image_shape
        kh, kw = kernel.shape[2:]
        rows = (torch.arange(kh, device=kernel.device) - kh // 2) % h
        columns = (torch.arange(kw, device=kernel.device) - kw // 2) % w
        wrapped = kernel.new_zeros(len(kernel), 1, h, kw).index_add(2, rows, kernel)
        wrapped = kernel.new_zeros(len(kernel), 1, h, w).index_add(3, columns, wrapped)
        transfer = fft2(wrapped).conj().resolve_conj()
        gain = transfer.abs()
        # Where the gain is nothing but rounding its phase is too, and would not be that of a real operator.
        certain = gain > 1e-14 * gain.amax((1, 2, 3), keepdim=True)
        self.hold("singular", gain, derived=True)
        half = (slice(None), slice(None), slice(None), slice(w // 2 + 1))
        self.hold("transfer", transfer[half], derived=True)
        self.hold("phase", torch.where(certain, transfer / torch.where(certain, gain, 1), 1)[half], derived=True)

    def _filter(self, x: Tensor, transfer: Tensor) -> Tensor:
        _, h, w = self.image_shape
        filtered: Tensor = irfft2(transfer * rfft2(x), s=(h, w))
        return filtered

    def _forward(self, x: Tensor) -> Tensor:
        return self._filter(x, self.constant("transfer", x))

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._filter(y, self.constant("transfer", y).conj())

    def singular_values(self, like: Tensor) -> Tensor:
        """|T|, (1 or b, 1, h, w)."""
        return self.constant("singular", like)

    def _to_spectrum(self, x: Tensor) -> Tensor:
        return _hartley(x)

    def _from_spectrum(self, c: Tensor) -> Tensor:
        return _hartley(c)

    def _measured_to_spectrum(self, y: Tensor) -> Tensor:
        return _hartley(self._filter(y, self.constant("phase", y).conj()))

    def _spectrum_to_measured(self, c: Tensor) -> Tensor:
        return self._filter(_hartley(c), self.constant("phase", c))


def _hartley(x: Tensor) -> Tensor:
    transform: Tensor = fft2(x, norm="ortho")
    return transform.real - transform.imag
