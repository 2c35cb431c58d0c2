"""Holes that grow."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pellucid.errors import OperatorError
from pellucid.operators.base import Operator
from pellucid.operators.diagonal import Diagonal, Identity
from pellucid.operators.families.base import Family
from pellucid.operators.families.knots import time_at, value_at
from pellucid.operators.families.limits import require_number, require_whole
from pellucid.operators.mask import Mask, SoftMask
from pellucid.operators.parameters import PerImage, per_image
from pellucid.typing import Shape

SHY = 1e-12  # by which a time stays before the next hole's, so that rounding does not open it


class MaskFamily(Family):
    """Dirac's inpainting: a soft hole of std = narrowest + t (widest - narrowest) pixels; at t = 0 none at all.

    Or std runs linearly through `stds`, which stand at evenly spaced t; they begin and end at narrowest and widest.

    Args:
        image_shape: (c, h, w).
        widest: in pixels; by default 50 at 256 pixels (faces; ImageNet has 30), and in proportion.
        narrowest: towards t = 0.
        power: of the profile, above 0 and at most 100.
        stds: at t = 0, ..., 1, not falling; stretched linearly to the two ends.

    Raises:
        CompatibilityError: the widest is not above the narrowest, that not above 0, or another power.
        OperatorError: the stds are no such list.
    """

    def __init__(
        self,
        image_shape: Shape,
        widest: float | None = None,
        *,
        narrowest: float = 0.1,
        power: float = 4.0,
        stds: Sequence[float] = (0.0, 1.0),
    ) -> None:
        super().__init__(image_shape)
        self.widest = 50.0 * min(self.image_shape[1:]) / 256 if widest is None else widest
        self.narrowest, self.power = narrowest, power
        require_number("the narrowest hole", self.narrowest, 0, above=True)
        require_number("the widest hole", self.widest, self.narrowest, above=True)
        require_number("power", self.power, 0, 100, above=True)
        knots = per_image(stds, "stds", at_least=0)
        if len(knots) < 2 or (knots.diff() < 0).any() or knots[0] == knots[-1]:
            raise OperatorError("the stds of a family are at least two, do not fall, and end above their first")
        shares = (knots - knots[0]) / (knots[-1] - knots[0])
        self.stds = self.narrowest + shares * (self.widest - self.narrowest)

    def std(self, t: Tensor) -> Tensor:
        """The hole's width at t."""
        return torch.where(t > 0, value_at(self.stds, t), 0)

    def _at(self, t: Tensor) -> SoftMask:
        return SoftMask(self.image_shape, self.std(t), power=self.power)

    def transition(self, s: PerImage, t: PerImage) -> Mask:
        """m_t / m_s, pixel by pixel; 0 where nothing was left at s."""
        early, late = (self._weights(time) for time in (s, t))
        ratio = torch.where(early > 0, late / torch.where(early > 0, early, 1), 0)
        return Mask(self.image_shape, ratio[0] if len(ratio) == 1 else ratio)

    def _weights(self, t: PerImage) -> Tensor:
        """m_t, (1 or b, 1, h, w) float64."""
        times = per_image(t, "t", at_least=0, at_most=1)
        operator = SoftMask(self.image_shape, self.std(times), power=self.power)
        assert isinstance(operator, Diagonal)
        return operator.get_buffer("weights")

    def _time_of(self, operator: Operator) -> Tensor | None:
        if isinstance(operator, Identity):
            return torch.zeros(1, dtype=torch.float64)
        if not isinstance(operator, SoftMask) or operator.power != self.power:
            return None
        std = operator.get_buffer("std")
        return torch.where(std == 0, 0, time_at(self.stds, std).clamp(min=1e-12))


class RandomMaskFamily(Family):
    """Flash-Diffusion's varying inpainting: a fraction `most` t of the pixels is missing, holes that only grow.

    Args:
        image_shape: (c, h, w).
        most: missing at t = 1, above 0 and at most 1.
        seed: of the map that decides which go first, a whole number.

    One mask is A_t for all t until the next pixel goes. Of these `time_of` tells the last, which is 1 for A_1, and not
    the first as elsewhere; but 0 where nothing is missing.

    Raises:
        CompatibilityError: another fraction, or another seed.
    """

    def __init__(self, image_shape: Shape, most: float = 0.8, *, seed: int = 0) -> None:
        super().__init__(image_shape)
        require_number("most", most, 0, 1, above=True)
        require_whole("seed", seed, 0, 2**63 - 1)
        self.most, self.seed = most, seed
        self._order = torch.rand(self.image_shape[1:], generator=torch.Generator().manual_seed(seed)).double()

    def _at(self, t: Tensor) -> Mask:
        return Mask.random(self.image_shape, self.most * t, self.seed)

    def transition(self, s: PerImage, t: PerImage) -> Mask:
        """The holes of t: those of s are among them."""
        mask = self.at(t)
        assert isinstance(mask, Mask)
        return mask

    def _time_of(self, operator: Operator) -> Tensor | None:
        if not isinstance(operator, Diagonal):
            return None
        weights = operator.get_buffer("weights")
        holes = (weights == 0).all(1)  # a pixel has all of its channels, or none
        if not bool(((weights == 1) | holes[:, None]).all()):
            return None
        # The mask is this one from the time at which the last of its holes opens until the next one would.
        latest = torch.where(holes, self._order, 1).flatten(1).amin(1)
        following = torch.where(holes, 0, self._order).flatten(1).amax(1)
        begins = (1 - latest) / self.most
        t = torch.where(holes.flatten(1).all(1), torch.inf, (1 - following) / self.most - max(SHY, 1e-15 / self.most))
        ours = self._order < 1 - self.most * t.reshape(-1, 1, 1)
        if not torch.equal(ours, ~holes):
            return None
        t = torch.where(holes.flatten(1).any(1), t, 0)
        return torch.where(begins > 1 + 1e-9, torch.inf, t.clamp(max=1))
