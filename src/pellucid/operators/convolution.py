"""Blurs by any kernel: exact by Fourier transform on a circular picture, by conjugate gradients on others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor
from torch.fft import fft2, irfft2, rfft2

from pellucid.errors import OperatorError
from pellucid.operators.base import LinearOperator, Spectral
from pellucid.operators.files import read_kernel
from pellucid.operators.kernels import Boundary, reach, require_boundary
from pellucid.operators.motion import motion_kernel
from pellucid.operators.parameters import picture_shape
from pellucid.typing import Shape


class KernelBlur(LinearOperator):
    """y = K * x (a cross-correlation) by a kernel that need not be separable; its pseudo-inverse is iterative.

    With a reflecting or black boundary no fast transform diagonalises it; `CircularBlur` is the one with a spectrum.

    Args:
        image_shape: (c, h, w).
        kernel: (kh, kw), or (b, kh, kw) for one an image; its middle is at (kh // 2, kw // 2).
        boundary: "reflect" or "zero".
        normalise: divides the kernel by its sum.

    Raises:
        OperatorError: the kernel is not finite, or sums to zero.
    """

    def __init__(
        self, image_shape: Shape, kernel: Tensor, *, boundary: Boundary = "reflect", normalise: bool = True
    ) -> None:
        picture_shape(image_shape)
        require_boundary(boundary)
        if boundary == "circular":
            raise OperatorError("a circular blur by a kernel is CircularBlur, which has an exact spectrum")
        super().__init__(image_shape, batch=len(kernel) if kernel.ndim == 3 else None)
        self.boundary = boundary
        self.hold("kernel", _prepared(kernel, normalise))

    @classmethod
    def from_file(cls, image_shape: Shape, path: str | Path, *, boundary: Boundary = "reflect") -> Self:
        """From a .npy array or a grey picture, divided by its sum. Raises `OperatorError`."""
        return cls(image_shape, read_kernel(path), boundary=boundary)

    def _derive(self) -> None:
        kernel = self.get_buffer("kernel")
        self.hold("transfer", rfft2(kernel, s=self._padded_size()).conj().resolve_conj(), derived=True)

    def _padded_size(self) -> tuple[int, int]:
        _, h, w = self.image_shape
        kh, kw = self.get_buffer("kernel").shape[2:]
        return h + kh - 1, w + kw - 1

    def _reach(self, axis: int, like: Tensor) -> tuple[Tensor, Tensor]:
        taps = self.get_buffer("kernel").shape[1 + axis]
        index, counts = reach(self.image_shape[axis], taps // 2, taps - 1 - taps // 2, self.boundary)
        return index.to(like.device), counts.to(like)

    def _forward(self, x: Tensor) -> Tensor:
        (rows, above), (columns, beside) = self._reach(1, x), self._reach(2, x)
        _, h, w = self.image_shape
        padded = x[..., rows, :][..., columns] * (above[:, None] * beside)
        return irfft2(self.constant("transfer", x) * rfft2(padded), s=self._padded_size())[..., :h, :w]

    def _adjoint(self, y: Tensor) -> Tensor:
        (rows, above), (columns, beside) = self._reach(1, y), self._reach(2, y)
        b, (c, h, w) = len(y), self.image_shape
        padded = irfft2(self.constant("transfer", y).conj() * rfft2(y, s=self._padded_size()), s=self._padded_size())
        padded = padded * (above[:, None] * beside)
        folded = y.new_zeros(b, c, h, len(columns)).index_add(2, rows, padded)
        return y.new_zeros(b, c, h, w).index_add(3, columns, folded)


class MotionBlur(KernelBlur):
    """Blur by a random camera path (`motion_kernel`), frozen by its seed; DPS and ReSample: 61 pixels, intensity 0.5.

    Args:
        image_shape: (c, h, w).
        seed: of the path; a list for one an image.
        size: of the kernel, in pixels.
        intensity: 0 is a straight line, 1 shakes a lot.
        boundary: "reflect" or "zero".
    """

    def __init__(
        self,
        image_shape: Shape,
        seed: int | Sequence[int] = 0,
        *,
        size: int = 61,
        intensity: float = 0.5,
        boundary: Boundary = "reflect",
    ) -> None:
        super().__init__(image_shape, motion_kernel(seed, size, intensity), boundary=boundary)


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
        self.hold("kernel", _prepared(kernel, normalise))

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
        return irfft2(transfer * rfft2(x), s=(h, w))

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
    transform = fft2(x, norm="ortho")
    return transform.real - transform.imag


def _prepared(kernel: Tensor, normalise: bool) -> Tensor:
    """(1 or b, 1, kh, kw) float64."""
    if kernel.ndim not in (2, 3) or kernel.numel() == 0:
        raise OperatorError(f"a kernel is (height, width), or (b, height, width), not {tuple(kernel.shape)}")
    kernel = kernel.detach().to("cpu", torch.float64).reshape(-1, 1, *kernel.shape[-2:])
    total = kernel.sum((1, 2, 3), keepdim=True)
    if not kernel.isfinite().all() or (normalise and (total.abs() <= 1e-12 * kernel.abs().amax()).any()):
        raise OperatorError("a kernel must be finite and, to be normalised, must not sum to zero")
    return kernel / total if normalise else kernel
