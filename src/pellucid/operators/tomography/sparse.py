"""Few-view tomography, seen as a degradation of the picture itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pellucid.errors import OperatorError
from pellucid.operators.base import LinearOperator
from pellucid.operators.parameters import picture_shape
from pellucid.operators.tomography.backprojection import view_shares
from pellucid.operators.tomography.filters import filtered
from pellucid.operators.tomography.operator import ParallelBeam
from pellucid.typing import Shape


class SparseView(LinearOperator):
    """y = a x + sum_i w_i B_i x, B_i x being view i of x, ramp-filtered and spread back over the picture.

    With a = 0 and w_i = n / k for k evenly spaced views of n, 0 for the others, it is the filtered back-projection of
    those k: the picture with the streaks of a scan of few views. With all w_i = 1 - a it is near the picture itself.

    Args:
        image_shape: (c, h, w).
        weights: w, (n,) for n views over 180 degrees, or (b, n) for one set an image.
        share: a; (b,) for one an image.

    Raises:
        OperatorError: fewer than two views, or a negative weight or share.
    """

    def __init__(self, image_shape: Shape, weights: Sequence[float] | Tensor, share: float | Tensor = 0.0) -> None:
        values, own = (torch.as_tensor(value, dtype=torch.float64) for value in (weights, share))
        if values.ndim not in (1, 2) or values.shape[-1] < 2 or not (values >= 0).all() or not (own >= 0).all():
            raise OperatorError("sparse views take weights of two views or more and a share, none of them negative")
        batch = len(values) if values.ndim == 2 else None
        super().__init__(picture_shape(image_shape), batch=batch)
        self.hold("view_weights", values if values.ndim == 2 else values[None])
        self.hold("share", own.expand(batch or 1).clone())
        self.tomograph = ParallelBeam(image_shape, values.shape[-1], unit="pixel")
        shares = torch.from_numpy(view_shares(self.tomograph.geometry))
        self.hold("angles", shares[None, None, :, None])

    @classmethod
    def of(cls, image_shape: Shape, views: int = 16, most: int = 128) -> SparseView:
        """Of `views` of `most` evenly spaced ones. Raises `OperatorError` where the one does not divide the other."""
        if views < 1 or most % views:
            raise OperatorError(f"the number of views must divide {most}, not be {views}")
        weights = torch.zeros(most, dtype=torch.float64)
        weights[:: most // views] = most / views
        return cls(image_shape, weights)

    def _forward(self, x: Tensor) -> Tensor:
        back = self.tomograph._adjoint(self._weighed(self.tomograph._forward(x)))
        return self._own(x) + back

    def _adjoint(self, y: Tensor) -> Tensor:
        # The filter is symmetric, acts along the detector, and so passes the weights of the views.
        return self._forward(y)

    def _own(self, x: Tensor) -> Tensor:
        return self.constant("share", x)[:, None, None, None] * x

    def _weighed(self, views: Tensor) -> Tensor:
        weights = self.constant("view_weights", views)[:, None, :, None] * self.constant("angles", views)
        return weights * filtered(views, 1.0, "ramp")
