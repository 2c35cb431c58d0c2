"""Blurs by any kernel inside a reflecting or black boundary; `circular` has the third boundary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from torch import Tensor
from torch.fft import irfft2, rfft2

from pellucid.errors import OperatorError
from pellucid.operators.base import LinearOperator
from pellucid.operators.circular import CircularBlur
from pellucid.operators.files import read_kernel
from pellucid.operators.kernels import Boundary, prepared_kernel, reach, require_boundary
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
        self.hold("kernel", prepared_kernel(kernel, normalise))

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
        blurred: Tensor = irfft2(self.constant("transfer", x) * rfft2(padded), s=self._padded_size())
        return blurred[..., :h, :w]

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


def kernel_blur(image_shape: Shape, kernel: Tensor, boundary: Boundary = "reflect") -> LinearOperator:
    """The blur by a kernel that suits the boundary: `CircularBlur` (spectral) or `KernelBlur` (iterative)."""
    if boundary == "circular":
        return CircularBlur(image_shape, kernel)
    return KernelBlur(image_shape, kernel, boundary=boundary)
