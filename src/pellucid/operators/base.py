"""The ladder of forward models: `Operator`, `LinearOperator`, `Spectral`.

Each rung promises more, and a method says which rung it needs. Everything acts on batches (b, *shape) in the range
[0, 1], is differentiable, follows the dtype and the device of its argument, and never mixes images. Subclasses write
the underscored methods; the public ones check shapes and count calls.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from typing import Self, overload

import torch
from torch import Tensor, nn

from pellucid.account import count_operator
from pellucid.errors import ShapeError
from pellucid.typing import Shape, expand, real_dtype


class Operator(nn.Module, ABC):
    """A forward model y = A(x), possibly nonlinear.

    Args:
        image_shape: (c, h, w) of one picture x.
        measurement_shape: shape of one measurement y; the picture's if not given.
        batch: how many images the parameters are for (one kernel, mask or width an image); None: the same for all.

    The parameters are buffers, float64 on the CPU, with a leading dimension of 1 or `batch` (`hold`). They are
    converted to the argument's dtype and device when first used there (`constant`); what follows from them at some
    cost, a singular value decomposition, is computed when first asked for (`_derive`) and not saved.
    """

    def __init__(self, image_shape: Shape, measurement_shape: Shape | None = None, batch: int | None = None) -> None:
        super().__init__()
        self.image_shape: Shape = tuple(image_shape)
        self.measurement_shape: Shape = tuple(measurement_shape or image_shape)
        self.batch = batch
        self._converted: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}
        self.register_load_state_dict_post_hook(_forget_derived)  # type: ignore[no-untyped-call]

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
        chosen = copy(self)
        chosen._converted = {}
        chosen._non_persistent_buffers_set = set(self._non_persistent_buffers_set)
        chosen._buffers = {
            name: value[index] if value is not None and len(value) == self.batch else value
            for name, value in self._buffers.items()
        }
        chosen._modules = {
            name: part.select(index) if isinstance(part, Operator) else part for name, part in self._modules.items()
        }
        chosen.batch = int(torch.arange(self.batch, device=index.device)[index].numel())
        return chosen

    def require(self, tensor: Tensor, shape: Shape, what: str) -> None:
        """Raises `ShapeError` unless `tensor` is (b, *shape) with a batch that the operator's parameters fit."""
        if tuple(tensor.shape[1:]) != shape:
            raise ShapeError(
                f"{type(self).__name__} takes a {what} of shape (batch, {', '.join(map(str, shape))}), "
                f"not {tuple(tensor.shape)}"
            )
        if self.batch is not None and len(tensor) != self.batch:
            raise ShapeError(f"{type(self).__name__} has parameters for {self.batch} images, not for {len(tensor)}")

    def hold(self, name: str, value: Tensor, *, derived: bool = False) -> None:
        """Registers the buffer `name`, (1 or batch, ...); derived ones are not part of the state."""
        if len(value) not in (1, self.batch or 1):
            raise ShapeError(f"{type(self).__name__}.{name} has {len(value)} entries for {self.batch or 1} images")
        self.register_buffer(name, value, persistent=not derived)

    def constant(self, name: str, like: Tensor) -> Tensor:
        """The buffer `name` in the dtype (real or complex as it is) and on the device of `like`, converted once."""
        with torch.inference_mode(False), torch.no_grad():
            if name not in self._buffers:
                self._derive()
            value = self.get_buffer(name)
            real = like.dtype.to_real() if like.is_complex() else like.dtype
            dtype = real.to_complex() if value.is_complex() else real if value.is_floating_point() else value.dtype
            key = (name, dtype, like.device)
            if key not in self._converted:
                value = value.to(dtype).to(like.device)
                self._converted[key] = value.clone() if value.is_inference() else value
        return self._converted[key]

    def _derive(self) -> None:
        """Holds the derived buffers; for operators that have some."""

    def __matmul__(self, other: Operator) -> Operator:
        """A @ B: x -> A(B(x))."""
        from pellucid.operators.algebra import compose

        return compose(self, other)

    def __add__(self, other: Operator) -> Operator:
        """A + B: x -> A(x) + B(x)."""
        from pellucid.operators.algebra import add

        return add(self, other)

    def __mul__(self, factor: float) -> Operator:
        """A * a: x -> a A(x)."""
        from pellucid.operators.algebra import scale

        return scale(self, factor)

    __rmul__ = __mul__

    def __neg__(self) -> Operator:
        """-A."""
        return self * -1.0

    def __sub__(self, other: Operator) -> Operator:
        """A - B."""
        return self + -other


def _forget_derived(module: nn.Module, _: object) -> None:
    """After new parameters were loaded: drops what was computed from the old ones."""
    if isinstance(module, Operator):
        module._converted.clear()
        for name in tuple(module._non_persistent_buffers_set):
            delattr(module, name)


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

    @abstractmethod
    def _adjoint(self, y: Tensor) -> Tensor: ...

    def pinv(self, y: Tensor) -> Tensor:
        """A^+ y, the least-squares solution of least norm: (b, *measurement_shape) -> (b, *image_shape)."""
        self.require(y, self.measurement_shape, "measurement")
        count_operator()
        return self._pinv(y)

    def _pinv(self, y: Tensor) -> Tensor:
        """By conjugate gradients on A^T A x = A^T y, to a relative residual of 1e-6 (float32) or 1e-12 (float64).

        After 500 iterations it stops where it is: a badly conditioned A (a long motion blur) then has a regularised
        inverse, without the directions of its smallest singular values.
        """
        from pellucid.operators.solve import pinv_by_cg

        return pinv_by_cg(self, y)

    def solve_normal(self, rhs: Tensor, weight: Tensor) -> Tensor:
        """(A^T A + weight I)^{-1} rhs for pictures rhs and weights (b,) > 0; here by conjugate gradients."""
        from pellucid.operators.solve import normal_by_cg

        self.require(rhs, self.image_shape, "picture")
        count_operator()
        return normal_by_cg(self, rhs, weight)

    def norm(self, like: Tensor) -> Tensor:
        """The largest singular value of every image, (b,) for pictures `like`; here by 100 power iterations."""
        from pellucid.operators.solve import norm_by_power_iteration

        self.require(like, self.image_shape, "picture")
        return norm_by_power_iteration(self, like)

    @overload
    def __matmul__(self, other: LinearOperator) -> LinearOperator: ...
    @overload
    def __matmul__(self, other: Operator) -> Operator: ...
    def __matmul__(self, other: Operator) -> Operator:
        """A @ B: x -> A(B(x)), linear if both are."""
        return super().__matmul__(other)


class Spectral(LinearOperator):
    """A linear operator with a known singular value decomposition A = U S V^T, never as a dense matrix.

    A spectrum has the shape of the picture; entries without a singular value (the null space) have s = 0, and
    `measured_to_spectrum` fills those with zeros. V is orthogonal, U has orthonormal columns where s may be positive;
    both are real (a circular blur uses the Hartley transform), and the singular values are not negative.

    Args:
        image_shape: (c, h, w) of one picture x.
        measurement_shape: shape of one measurement y; the picture's if not given.
        batch: how many images the parameters are for; None: the same for all.
        rcond: `pinv` and `kept` leave out singular values of at most `rcond` times the largest of the image.
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
        """S, broadcastable against spectra (b, *image_shape), in the precision and on the device of `like`."""

    @abstractmethod
    def _to_spectrum(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def _from_spectrum(self, c: Tensor) -> Tensor: ...

    @abstractmethod
    def _measured_to_spectrum(self, y: Tensor) -> Tensor: ...

    @abstractmethod
    def _spectrum_to_measured(self, c: Tensor) -> Tensor: ...

    def to_spectrum(self, x: Tensor) -> Tensor:
        """V^T x: pictures -> spectra."""
        self.require(x, self.image_shape, "picture")
        count_operator()
        return self._to_spectrum(x)

    def from_spectrum(self, c: Tensor) -> Tensor:
        """V c: spectra -> pictures."""
        self.require(c, self.image_shape, "spectrum")
        count_operator()
        return self._from_spectrum(c)

    def measured_to_spectrum(self, y: Tensor) -> Tensor:
        """U^T y: measurements -> spectra, zero where there is no singular value."""
        self.require(y, self.measurement_shape, "measurement")
        count_operator()
        return self._measured_to_spectrum(y)

    def spectrum_to_measured(self, c: Tensor) -> Tensor:
        """U c: spectra -> measurements; entries without a singular value do not matter."""
        self.require(c, self.image_shape, "spectrum")
        count_operator()
        return self._spectrum_to_measured(c)

    def kept(self, like: Tensor) -> Tensor:
        """Which singular values the pseudo-inverse uses: bool, the shape of `singular_values(like)`."""
        return self.inverse_singular_values(like) > 0

    def inverse_singular_values(self, like: Tensor) -> Tensor:
        """1 / s where kept, 0 elsewhere; computed once for a dtype and device."""
        key = ("1 / s", real_dtype(like.dtype), like.device)
        if key not in self._converted:
            with torch.inference_mode(False), torch.no_grad():  # or the cache would be of inference tensors
                s = self.singular_values(torch.empty(0, dtype=real_dtype(like.dtype), device=like.device))
                kept = s > self.rcond * expand(s.flatten(1).amax(1), s)
                self._converted[key] = torch.where(kept, 1 / torch.where(kept, s, 1), 0)
        return self._converted[key]

    def truncated(self) -> Spectral:
        """The operator without the singular values that `pinv` leaves out: its exact pseudo-inverse is `pinv`."""
        from pellucid.operators.views import Truncated

        return Truncated(self)

    def _forward(self, x: Tensor) -> Tensor:
        return self._spectrum_to_measured(self.singular_values(x) * self._to_spectrum(x))

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._from_spectrum(self.singular_values(y) * self._measured_to_spectrum(y))

    def _pinv(self, y: Tensor) -> Tensor:
        """V S^+ U^T y, singular values of at most rcond times the largest taken as zero. Exact by structure."""
        return self._from_spectrum(self.inverse_singular_values(y) * self._measured_to_spectrum(y))

    def solve_normal(self, rhs: Tensor, weight: Tensor) -> Tensor:
        """(A^T A + weight I)^{-1} rhs in the spectral basis: exact, with every singular value."""
        self.require(rhs, self.image_shape, "picture")
        count_operator()
        s = self.singular_values(rhs)
        return self._from_spectrum(self._to_spectrum(rhs) / (s**2 + expand(weight, rhs)))

    def norm(self, like: Tensor) -> Tensor:
        """The largest singular value of every image, exact: (b,)."""
        self.require(like, self.image_shape, "picture")
        return self.singular_values(like).flatten(1).amax(1).expand(len(like))
