"""Resolution that falls, the picture keeping its size."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.operators.base import Operator
from pellucid.operators.diagonal import Identity
from pellucid.operators.families.base import Family
from pellucid.operators.families.limits import require_whole
from pellucid.operators.parameters import PerImage, per_image
from pellucid.operators.pixelation import Pixelation
from pellucid.typing import Shape


class PixelationFamily(Family):
    """Block means over 1, 2, 4, ..., 2^levels pixels, at t = 0, 1 / levels, ..., 1; mixtures of neighbours between.

    Args:
        image_shape: (c, h, w).
        levels: how often the resolution halves, 1 to 12: 3 is super-resolution by 8 at t = 1.

    Raises:
        CompatibilityError: another number of levels.
    """

    def __init__(self, image_shape: Shape, levels: int = 3) -> None:
        super().__init__(image_shape)
        require_whole("levels", levels, 1, 12)
        self.levels = levels

    def weights(self, t: Tensor) -> Tensor:
        """w of `Pixelation` at t (b,), (b, levels + 1)."""
        place = t[:, None] * self.levels
        return (1 - (place - torch.arange(self.levels + 1, dtype=torch.float64)).abs()).clamp(min=0)

    def _at(self, t: Tensor) -> Pixelation:
        weights = self.weights(t.reshape(-1))
        return Pixelation(self.image_shape, weights if t.ndim else weights[0])

    def transition(self, s: PerImage, t: PerImage) -> Pixelation | None:
        """The P_k mixed so that every eigenvalue of A_s becomes that of A_t."""
        early, late = (self.weights(per_image(time, "t", at_least=0, at_most=1)).cumsum(1) for time in (s, t))
        eigenvalues = torch.where(early > 0, late / torch.where(early > 0, early, 1), 0)
        weights = torch.cat([eigenvalues[:, :1], eigenvalues.diff(dim=1)], dim=1).clamp(min=0)
        return Pixelation(self.image_shape, weights if len(weights) > 1 else weights[0])

    def _time_of(self, operator: Operator) -> Tensor | None:
        if isinstance(operator, Identity):
            return torch.zeros(1, dtype=torch.float64)
        if not isinstance(operator, Pixelation):
            return None
        given = operator.get_buffer("weights")
        places = torch.arange(given.shape[1], dtype=torch.float64)
        t = (given * places).sum(1) / self.levels
        coarser = (given * (places > self.levels)).sum(1) > 0
        # A mixture of more than two neighbours is none of ours: the coarsest of its parts is at least as severe.
        coarsest = torch.where(given > 0, places, 0).amax(1) / self.levels
        width = given.shape[1]
        wanted = torch.nn.functional.pad(self.weights(t.clamp(max=1)), (0, max(0, width - self.levels - 1)))[:, :width]
        same = torch.isclose(wanted, given, atol=1e-9).all(1)
        return torch.where(coarser, torch.inf, torch.where(same, t, coarsest))
