"""Operators with the bases of another and other singular values: scaled, truncated."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.operators.base import Spectral


class SpectralView(Spectral):
    """A spectral operator with the bases of another; subclasses change its singular values.

    Args:
        operator: whose bases they are.
        sign: of the left basis, 1 or -1.
    """

    def __init__(self, operator: Spectral, sign: float = 1.0) -> None:
        super().__init__(operator.image_shape, operator.measurement_shape, operator.batch, operator.rcond)
        self.operator, self.sign = operator, sign

    def _to_spectrum(self, x: Tensor) -> Tensor:
        return self.operator._to_spectrum(x)

    def _from_spectrum(self, c: Tensor) -> Tensor:
        return self.operator._from_spectrum(c)

    def _measured_to_spectrum(self, y: Tensor) -> Tensor:
        return self.sign * self.operator._measured_to_spectrum(y)

    def _spectrum_to_measured(self, c: Tensor) -> Tensor:
        return self.sign * self.operator._spectrum_to_measured(c)


class SpectralScaled(SpectralView):
    """x -> factor * operator(x): singular values |factor| S, left vectors sign(factor) U."""

    def __init__(self, operator: Spectral, factor: float) -> None:
        super().__init__(operator, -1.0 if factor < 0 else 1.0)
        self.factor = float(factor)

    def singular_values(self, like: Tensor) -> Tensor:
        """|factor| S."""
        return abs(self.factor) * self.operator.singular_values(like)


class Truncated(SpectralView):
    """The operator without the singular values that its `pinv` leaves out."""

    def singular_values(self, like: Tensor) -> Tensor:
        """S where kept, 0 elsewhere."""
        return torch.where(self.operator.kept(like), self.operator.singular_values(like), 0)
