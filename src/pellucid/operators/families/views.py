"""Computed tomography with ever fewer views."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pellucid.errors import OperatorError
from pellucid.operators.base import Operator
from pellucid.operators.diagonal import Identity
from pellucid.operators.families.base import Family
from pellucid.operators.families.limits import require_whole
from pellucid.operators.tomography.operator import ParallelBeam
from pellucid.operators.tomography.sparse import SparseView
from pellucid.typing import Shape

MOST = 4096  # views: every one has a weight, and a sparse matrix
FIRST = 0.1  # where all views are reached: little is lost until there


class ViewFamily(Family):
    """Filtered back-projections of most, most / 2, ..., least views, every set a part of the one before.

    At t = 0 it is the picture itself, at 0.1 the back-projection of all views; the halvings follow evenly. In between,
    the views that go lose their weight linearly and those that stay take it over.

    Args:
        image_shape: (c, h, w).
        least: views at t = 1, 2 or more.
        most: views at first, least times 2, 4, 8, ...; at most 4096.

    Raises:
        CompatibilityError: they are no whole numbers from 2 to 4096.
        OperatorError: most is not least times 2, 4, 8, ...
    """

    def __init__(self, image_shape: Shape, least: int = 16, most: int = 128) -> None:
        super().__init__(image_shape)
        require_whole("least", least, 2, MOST)
        require_whole("most", most, 2, MOST)
        halvings = (most // least).bit_length() - 1
        if halvings < 1 or most != least * 2**halvings:
            raise OperatorError(f"most must be least times 2, 4, 8, ...; not {most} for a least of {least}")
        self.least, self.most, self.halvings = least, most, halvings

    def weights(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(w, a) of `SparseView` at t (b,): (b, most) and (b,)."""
        share = (1 - t / FIRST).clamp(min=0)
        place = (t - FIRST).clamp(min=0) / (1 - FIRST) * self.halvings
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

    def _time_of(self, operator: Operator) -> Tensor | None:
        if isinstance(operator, Identity):
            return torch.zeros(1, dtype=torch.float64)
        if isinstance(operator, ParallelBeam):
            return self._of_views(operator)
        if not isinstance(operator, SparseView):
            return None
        return self._of_weights(operator.get_buffer("view_weights"), operator.get_buffer("share"))

    def shown(self, operator: Operator, y: Tensor) -> tuple[Tensor, float]:
        """Filtered back-projection, and the deviation of that of white noise, which is not white any more."""
        if not isinstance(operator, ParallelBeam):
            return super().shown(operator, y)
        white = torch.randn(1, *operator.measurement_shape, generator=torch.Generator().manual_seed(0))
        return operator.fbp(y), float(operator.fbp(white).std())

    def _of_views(self, operator: ParallelBeam) -> Tensor | None:
        """Of a scan of the whole half circle by one of the family's numbers of views, whose FBP is A_t."""
        scan = operator.geometry
        sees_all = scan.spacing <= 1 and scan.detectors * scan.spacing >= math.hypot(scan.height, scan.width) - 1e-6
        if scan.span != 180 or scan.start != 0 or not sees_all:
            return None
        weights = torch.ones(1, scan.angles, dtype=torch.float64)
        return self._of_weights(weights, torch.zeros(1, dtype=torch.float64))

    def _of_weights(self, given: Tensor, share: Tensor) -> Tensor | None:
        """t of the weights (b, n) and shares (b,) of a `SparseView`; None where one of them is not on the path."""
        own = self._on_own_views(given)
        if own is None:
            return None
        # From t = 0.1 on the first view weighs 2^k (1 + f), when the k-th halving is past and a share f of the next.
        first = own[:, 0].clamp(min=1)
        k = (torch.log2(first) + 1e-12).floor()
        place = k + first / 2**k - 1
        t = torch.where(share > 0, FIRST * (1 - share), FIRST + (1 - FIRST) * place / self.halvings)
        weights, shares = self.weights(t.clamp(0, 1))
        same = (weights - own).abs().amax(1).maximum((shares - share).abs()) < 1e-9
        left = own > 0
        others = torch.arange(self.most) % 2**self.halvings > 0
        fewer = (share == 0) & (left.sum(1) < self.least) & ~left[:, others].any(1)
        return torch.where(fewer, torch.inf, t.clamp(0, 1)) if bool((same | fewer).all()) else None

    def _on_own_views(self, given: Tensor) -> Tensor | None:
        """The weights of n views as those of `most`, (b, most); None where a view is between two of them."""
        n = given.shape[1]
        if self.most % n == 0:
            own = torch.zeros(len(given), self.most, dtype=torch.float64)
            own[:, :: self.most // n] = given * (self.most // n)
            return own
        between = torch.arange(n) * self.most % n > 0
        if n % self.most or bool((given[:, between] > 0).any()):
            return None
        return given[:, :: n // self.most] / (n // self.most)
