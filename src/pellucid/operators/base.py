"""The ladder of forward models: `Operator`, `LinearOperator`, `Spectral`.

Each rung promises more, and a method says which rung it needs. Everything acts on batches (b, *shape) in the range
[0, 1], is differentiable, follows the dtype and the device of its argument, and never mixes images. Subclasses write
the underscored methods; the public ones check shapes and count calls.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor, nn

from pellucid.account import count_operator
from pellucid.errors import ShapeError
from pellucid.typing import Shape


class Operator(nn.Module, ABC):
    """A forward model y = A(x), possibly nonlinear.

    Args:
        image_shape: (c, h, w) of one picture x.
        measurement_shape: shape of one measurement y; the picture's if not given.
        batch: how many images the parameters are for (one kernel, mask or width an image); None: the same for all.

    Buffers are float64 on the CPU and are converted to the argument's dtype and device when first used there.
    """

    def __init__(self, image_shape: Shape, measurement_shape: Shape | None = None, batch: int | None = None) -> None:
        super().__init__()
        self.image_shape: Shape = tuple(image_shape)
        self.measurement_shape: Shape = tuple(measurement_shape or image_shape)
        self.batch = batch
        self._converted: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """A(x): (b, *image_shape) -> (b, *measurement_shape). Raises `ShapeError`."""
        self.require(x, self.image_shape, "picture")
        count_operator()
        return self._forward(x)

    @abstractmethod
    def _forward(self, x: Tensor) -> Tensor: ...

    def select(self, index: Tensor) -> Self | Operator:
        """The same forward model for images `index` of the batch; itself when all images share their parameters."""
        if self.batch is None:
            return self
        raise NotImplementedError(f"{type(self).__name__} has a parameter per image and must define select()")

    def require(self, tensor: Tensor, shape: Shape, what: str) -> None:
        """Raises `ShapeError` unless `tensor` is (b, *shape) with a batch that the operator's parameters fit."""
        if tuple(tensor.shape[1:]) != shape:
            raise ShapeError(
                f"{type(self).__name__} takes a {what} of shape (batch, {', '.join(map(str, shape))}), "
                f"not {tuple(tensor.shape)}"
            )
        if self.batch is not None and len(tensor) != self.batch:
            raise ShapeError(f"{type(self).__name__} has parameters for {self.batch} images, not for {len(tensor)}")

    def constant(self, name: str, like: Tensor) -> Tensor:
        """The buffer `name` in the dtype (real or complex as it is) and on the device of `like`, converted once."""
        value = self.get_buffer(name)
        real = like.dtype.to_real() if like.is_complex() else like.dtype
        dtype = real.to_complex() if value.is_complex() else real if value.is_floating_point() else value.dtype
        key = (name, dtype, like.device)
        if key not in self._converted:
            self._converted[key] = value.to(dtype=dtype, device=like.device)
        return self._converted[key]


class LinearOperator(Operator):
    """A linear forward model with its exact adjoint and a pseudo-inverse.

    `iterative_pinv` says whether `pinv` solves by conjugate gradients (True) or is exact by structure (False).
    """

    iterative_pinv = True

    def adjoint(self, y: Tensor) -> Tensor:
        """A^T y: (b, *measurement_shape) -> (b, *image_shape), with <A x, y> = <x, A^T y>. Raises `ShapeError`."""
        self.require(y, self.measurement_shape, "measurement")
        count_operator()
        return self._adjoint(y)

    def pinv(self, y: Tensor) -> Tensor:
        """A^+ y, the least-squares solution of least norm: (b, *measurement_shape) -> (b, *image_shape).

        Here by conjugate gradients on A^T A x = A^T y, to a relative residual of 1e-6 in float32 and 1e-12 in float64.
        """
        from pellucid.operators.solve import pinv_by_cg

        self.require(y, self.measurement_shape, "measurement")
        count_operator()
        return pinv_by_cg(self, y)

    def solve_normal(self, rhs: Tensor, weight: Tensor) -> Tensor:
        """(A^T A + weight I)^{-1} rhs for images rhs and weights (b,) > 0; here by conjugate gradients."""
        from pellucid.operators.solve import normal_by_cg

        return normal_by_cg(self, rhs, weight)

    @abstractmethod
    def _adjoint(self, y: Tensor) -> Tensor: ...


class Spectral(LinearOperator):
    """A linear operator with a known singular value decomposition A = U S V^T, never as a dense matrix.

    The spectrum of a picture is an array with as many entries as the picture has; entries without a singular
    value (the null space) have s = 0. `measured_to_spectrum` fills those with zeros. The bases are unitary and may be
    complex (Fourier), the singular values are real and not negative.

    Args:
        rcond: `pinv` and `kept` leave out singular values below `rcond` times the largest of the image.
    """

    iterative_pinv = False

    def __init__(
        self,
        image_shape: Shape,
        measurement_shape: Shape | None = None,
        batch: int | None = None,
        rcond: float = 1e-6,
    ) -> None:
        super().__init__(image_shape, measurement_shape, batch)
        self.rcond = rcond

    @abstractmethod
    def singular_values(self, like: Tensor) -> Tensor:
        """S, real, broadcastable against spectra (b, ...), in the precision and on the device of `like`."""

    @abstractmethod
    def to_spectrum(self, x: Tensor) -> Tensor:
        """V^T x: pictures -> spectra."""

    @abstractmethod
    def from_spectrum(self, c: Tensor) -> Tensor:
        """V c: spectra -> pictures (real)."""

    @abstractmethod
    def measured_to_spectrum(self, y: Tensor) -> Tensor:
        """U^T y: measurements -> spectra, zero where there is no singular value."""

    @abstractmethod
    def spectrum_to_measured(self, c: Tensor) -> Tensor:
        """U c: spectra -> measurements (real); entries without a singular value do not matter."""

    def kept(self, like: Tensor) -> Tensor:
        """Which singular values the pseudo-inverse uses: bool, the shape of `singular_values(like)`."""
        s = self.singular_values(like)
        largest = s.flatten(1).amax(1).reshape(-1, *(1,) * (s.ndim - 1))
        return s > self.rcond * largest

    def inverse_singular_values(self, like: Tensor) -> Tensor:
        """1 / s where kept, 0 elsewhere."""
        s, kept = self.singular_values(like), self.kept(like)
        return torch.where(kept, 1 / torch.where(kept, s, 1), 0)

    def _forward(self, x: Tensor) -> Tensor:
        return self.spectrum_to_measured(self.singular_values(x) * self.to_spectrum(x))

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.from_spectrum(self.singular_values(y) * self.measured_to_spectrum(y))

    def pinv(self, y: Tensor) -> Tensor:
        """A^+ y = V S^+ U^T y, singular values below rcond times the largest taken as zero. Exact by structure."""
        self.require(y, self.measurement_shape, "measurement")
        count_operator()
        return self.from_spectrum(self.inverse_singular_values(y) * self.measured_to_spectrum(y))

    def solve_normal(self, rhs: Tensor, weight: Tensor) -> Tensor:
        """(A^T A + weight I)^{-1} rhs in the spectral basis: exact."""
        count_operator()
        s = self.singular_values(rhs)
        w = weight.to(s).reshape(-1, *(1,) * (s.ndim - 1))
        return self.from_spectrum(self.to_spectrum(rhs) / (s**2 + w))
