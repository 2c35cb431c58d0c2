"""Light and contrast that fade."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.errors import require_range
from pellucid.operators.base import Operator
from pellucid.operators.diagonal import Diagonal, Identity
from pellucid.operators.families.base import Family
from pellucid.operators.parameters import PerImage, per_image
from pellucid.operators.tone import ContrastLoss, exposure
from pellucid.typing import Shape

MOST = 0.999  # of the share that is left at the end: a family has to lose something


class ContrastFamily(Family):
    """y = keep x + (1 - keep) / 2 with keep = least^t: the contrast fades towards grey.

    Args:
        image_shape: (c, h, w).
        least: share of the contrast that is left at t = 1, above 0 and at most 0.999.
    """

    def __init__(self, image_shape: Shape, least: float = 0.2) -> None:
        super().__init__(image_shape)
        require_range("least", least, 0, MOST, above=True)
        self.least = least

    def _at(self, t: Tensor) -> ContrastLoss:
        return ContrastLoss(self.image_shape, self.least**t if t.ndim else float(self.least**t))

    def transition(self, s: PerImage, t: PerImage) -> ContrastLoss:
        """keep_t / keep_s."""
        early, late = (per_image(time, "t", at_least=0, at_most=1) for time in (s, t))
        keep = self.least ** (late - early)
        return ContrastLoss(self.image_shape, keep if len(keep) > 1 else float(keep[0]))

    def _time_of(self, operator: Operator) -> Tensor | None:
        if isinstance(operator, Identity):
            return torch.zeros(1, dtype=torch.float64)
        if not isinstance(operator, ContrastLoss) or operator.grey != 0.5:
            return None
        return _time_of_share(operator.get_buffer("keep"), self.least)


class ExposureFamily(Family):
    """y = gain x with gain = least^t: ever less light.

    Args:
        image_shape: (c, h, w).
        least: the gain at t = 1, above 0 and at most 0.999.
    """

    def __init__(self, image_shape: Shape, least: float = 0.1) -> None:
        super().__init__(image_shape)
        require_range("least", least, 0, MOST, above=True)
        self.least = least

    def _at(self, t: Tensor) -> Diagonal:
        return exposure(self.image_shape, self.least**t)

    def transition(self, s: PerImage, t: PerImage) -> Diagonal:
        """gain_t / gain_s."""
        early, late = (per_image(time, "t", at_least=0, at_most=1) for time in (s, t))
        apart = late - early
        return self._at(apart if len(apart) > 1 else apart[0])

    def _time_of(self, operator: Operator) -> Tensor | None:
        if not isinstance(operator, Diagonal):
            return None
        gains = operator.get_buffer("weights").flatten(1)
        if not bool((gains == gains[:, :1]).all()) or bool((gains[:, 0] > 1).any()):
            return None
        return _time_of_share(gains[:, 0], self.least)


def _time_of_share(share: Tensor, least: float) -> Tensor:
    """t with least^t = share; inf below `least`."""
    t = share.clamp(min=1e-300).log() / torch.tensor(least, dtype=torch.float64).log()
    return torch.where(t > 1 + 1e-9, torch.inf, t.clamp(0, 1))
