"""Computed tomography with ever fewer views."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.errors import OperatorError
from pellucid.operators.base import Operator
from pellucid.operators.diagonal import Identity
from pellucid.operators.families.base import Family
from pellucid.operators.tomography.operator import ParallelBeam
from pellucid.operators.tomography.sparse import SparseView
from pellucid.typing import Shape

FIRST = 0.1  # where all views are reached: little is lost until there


class ViewFamily(Family):
    """Filtered back-projections of most, most / 2, ..., least views, every set a part of the one before.

    At t = 0 it is the picture itself, at 0.1 the back-projection of all views; the halvings follow evenly. In between,
    the views that go lose their weight linearly and those that stay take it over.

    Args:
        image_shape: (c, h, w).
        least: views at t = 1.
        most: views at first, least times a power of 2.

    Raises:
        OperatorError: other numbers.
    """

    def __init__(self, image_shape: Shape, least: int = 16, most: int = 128) -> None:
        super().__init__(image_shape)
        halvings = (most // max(least, 1)).bit_length() - 1
        if least < 2 or most != least * 2**halvings:
            raise OperatorError(f"most must be least times a power of 2, not {most} for {least}")
        self.least, self.most, self.halvings = least, most, halvings

    def weights(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(w, a) of `SparseView` at t (b,): (b, most) and (b,)."""
        share = (1 - t / FIRST).clamp(min=0)
        place = (t - FIRST).clamp(min=0) / (1 - FIRST) * max(self.halvings, 1)
        views = torch.arange(self.most)
        weights = torch.zeros(len(t), self.most, dtype=torch.float64)
        for k in range(self.halvings + 1):
            part = (1 - (place - k).abs()).clamp(min=0)[:, None]
            weights = weights + part * 2**k * (views % 2**k == 0)
        return (1 - share)[:, None] * weights, share

    def _at(self, t: Tensor) -> SparseView:
        weights, share = self.weights(t.reshape(-1))
        return (
            SparseView(self.image_shape, weights, share)
            if t.ndim
            else SparseView(self.image_shape, weights[0], share[0])
        )

    def time_of(self, operator: Operator) -> Tensor | None:
        if isinstance(operator, Identity):
            return torch.zeros(1, dtype=torch.float64)
        if isinstance(operator, ParallelBeam):
            return self._of_views(operator)
        if not isinstance(operator, SparseView):
            return None
        given, share = operator.get_buffer("view_weights"), operator.get_buffer("share")
        kept = torch.where((given > 0).any(1), (given > 0).sum(1), self.most).double()
        if given.shape[1] != self.most or bool((share > 0).any()):
            return None
        return self._time_at(kept)

    def shown(self, operator: Operator, y: Tensor) -> tuple[Tensor, float]:
        """Filtered back-projection, and the deviation of that of white noise, which is not white any more."""
        if not isinstance(operator, ParallelBeam):
            return super().shown(operator, y)
        white = torch.randn(1, *operator.measurement_shape, generator=torch.Generator().manual_seed(0))
        return operator.fbp(y), float(operator.fbp(white).std())

    def _of_views(self, operator: ParallelBeam) -> Tensor | None:
        scan = operator.geometry
        if scan.span != 180 or scan.start != 0 or self.most % scan.angles:
            return None
        return self._time_at(torch.tensor([float(scan.angles)], dtype=torch.float64))

    def _time_at(self, views: Tensor) -> Tensor:
        """The first t at which no more than so many views are left."""
        place = (torch.log2(self.most / views) - 1e-9).ceil()
        t = FIRST + (1 - FIRST) * place / max(self.halvings, 1)
        return torch.where(place > self.halvings, torch.inf, t.clamp(max=1))
