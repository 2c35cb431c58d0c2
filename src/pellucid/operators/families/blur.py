"""Gaussian blurs of growing width."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pellucid.errors import OperatorError
from pellucid.operators.base import Operator
from pellucid.operators.blur import GaussianBlur
from pellucid.operators.diagonal import Identity
from pellucid.operators.families.base import Family
from pellucid.operators.families.knots import time_at, value_at
from pellucid.operators.kernels import Boundary, gaussian_taps
from pellucid.operators.parameters import PerImage, per_image
from pellucid.operators.schedules import DIRAC_BLUR
from pellucid.operators.separable import Separable
from pellucid.typing import Shape

NEGLIGIBLE = 1e-10  # singular values of a narrower blur below this share carry nothing that a wider one shows


class BlurFamily(Family):
    """Gaussian blurs of growing width: std(t) runs linearly through `stds`, which stand at evenly spaced t.

    Flash-Diffusion's paper has std in [0, 3] with std below 0.3 as the identity (the default); its code, and Dirac with
    a linear schedule, have `stds=(0.3, 3.0)`, where A_0 is not quite the identity (`distance` is 0.015).

    Args:
        image_shape: (c, h, w).
        stds: at t = 0, ..., 1, in pixels, not falling.
        identity_below: widths below this are taken as 0.
        kernel_size: 61 in both; cuts the kernel.
        truncate: cuts it at int(truncate std + 1/2) pixels.
        boundary: "reflect", "zero" or "circular".

    `time_of` knows a Gaussian blur by its width alone: one cut elsewhere, or with another edge, has its std's time.

    Raises:
        OperatorError: fewer than two stds, or they are negative or fall.
    """

    def __init__(
        self,
        image_shape: Shape,
        stds: Sequence[float] = (0.0, 3.0),
        *,
        identity_below: float = 0.3,
        kernel_size: int | None = 61,
        truncate: float = 6.0,
        boundary: Boundary = "reflect",
    ) -> None:
        super().__init__(image_shape)
        self.stds = per_image(stds, "stds", at_least=0)
        if len(self.stds) < 2 or (self.stds.diff() < 0).any():
            raise OperatorError("the stds of a family are at least two, and do not fall")
        self.identity_below, self.kernel_size = identity_below, kernel_size
        self.truncate, self.boundary = truncate, boundary
        taps = gaussian_taps(self.std(torch.zeros(1, dtype=torch.float64)), truncate, kernel_size)
        # A pixel keeps the middle weight, and what it mixes with the others is in [0, 1].
        self.distance = 1 - float(taps.amax()) ** 2

    @classmethod
    def dirac(cls, image_shape: Shape) -> BlurFamily:
        """Dirac's deblurring: 0.3 to 3 along the released greedy schedule (METHODS 1.3)."""
        return cls(image_shape, DIRAC_BLUR)

    def std(self, t: Tensor) -> Tensor:
        """The blur's width at t."""
        std = value_at(self.stds, t)
        return torch.where(std < self.identity_below, 0, std)

    def time_at(self, std: Tensor) -> Tensor:
        """The smallest t with std(t) >= std; inf above the widest."""
        # Widths that the family takes for none are reached where its first real blur is.
        std = torch.where((std > 0) & (std < self.identity_below), self.identity_below + 1e-9, std.double())
        return time_at(self.stds, std)

    def _at(self, t: Tensor) -> GaussianBlur:
        return GaussianBlur(
            self.image_shape,
            self.std(t),
            kernel_size=self.kernel_size,
            truncate=self.truncate,
            boundary=self.boundary,
        )

    def transition(self, s: PerImage, t: PerImage) -> Separable:
        """B_t B_s^+ along rows and columns, in float64; what B_s drops B_t drops too, but for 2e-7 of white."""
        early, late = self.at(s), self.at(t)
        rows, columns = (
            late.get_buffer(name) @ torch.linalg.pinv(early.get_buffer(name), rtol=NEGLIGIBLE)
            for name in ("rows", "columns")
        )
        shared = len(rows) == 1
        return Separable(self.image_shape, rows[0] if shared else rows, columns[0] if shared else columns)

    def _time_of(self, operator: Operator) -> Tensor | None:
        if isinstance(operator, Identity):
            return torch.zeros(1, dtype=torch.float64)
        return self.time_at(operator.get_buffer("std")) if isinstance(operator, GaussianBlur) else None
