"""JPEG compression that gets stronger."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.errors import require_range
from pellucid.operators.base import Operator
from pellucid.operators.families.base import Family
from pellucid.operators.jpeg import JPEG
from pellucid.typing import Shape


class JPEGFamily(Family):
    """JPEG of falling quality: 100 (1 - t) + worst t.

    More severe by measurement only: what quality 40 rounds away is not always a part of what quality 20 does, so no
    A_{s->t} exists. On 24 photographs the root mean square error of [0, 1] is 0.012, 0.026, 0.034, 0.041 and 0.077 at
    t = 0, 1/4, ..., 1, and higher at a later time for each of them.
    Quality 100 still halves the resolution of colour, which may change a pixel of random colours by all that there is
    (`distance`), and hardly one of a photograph.

    Args:
        image_shape: (c, h, w), of 1 or 3 channels.
        worst: the quality at t = 1, 1 to 99.
    """

    distance = 1.0
    nested = False

    def __init__(self, image_shape: Shape, worst: float = 5.0) -> None:
        super().__init__(image_shape)
        require_range("worst", worst, 1, 99)
        self.worst = worst

    def _at(self, t: Tensor) -> JPEG:
        quality = torch.lerp(torch.full_like(t, 100.0), torch.full_like(t, self.worst), t)
        return JPEG(self.image_shape, quality if t.ndim else float(quality))

    def _time_of(self, operator: Operator) -> Tensor | None:
        if not isinstance(operator, JPEG):
            return None
        t = (100 - operator.get_buffer("quality")) / (100 - self.worst)
        return torch.where(t > 1 + 1e-9, torch.inf, t.clamp(0, 1))
