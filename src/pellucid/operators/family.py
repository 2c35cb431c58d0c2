"""Families of operators t -> A_t, from (nearly) nothing at t = 0 to the full degradation at t = 1."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from pellucid.errors import OperatorError
from pellucid.operators.base import Operator
from pellucid.operators.blur import GaussianBlur
from pellucid.operators.kernels import Boundary, gaussian_taps
from pellucid.operators.mask import Mask, SoftMask
from pellucid.operators.parameters import PerImage, per_image, picture_shape
from pellucid.operators.schedules import DIRAC_BLUR
from pellucid.typing import Shape


class Family(ABC):
    """A_t for t in [0, 1], a number or (b,) for every image its own.

    Args:
        image_shape: (c, h, w).

    Attributes:
        distance: how far A_0 is from the identity: the most that any pixel of any picture in [0, 1] may change.
    """

    distance: float = 0.0

    def __init__(self, image_shape: Shape) -> None:
        self.image_shape: Shape = picture_shape(image_shape)

    def at(self, t: PerImage) -> Operator:
        """A_t; t may be a number, or (b,) for a batch. Raises `OperatorError` outside [0, 1]."""
        times = per_image(t, "t", at_least=0, at_most=1)
        return self._at(times[0] if torch.as_tensor(t).ndim == 0 else times)

    @abstractmethod
    def _at(self, t: Tensor) -> Operator: ...


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
        place = t * (len(self.stds) - 1)
        left = place.long().clamp(max=len(self.stds) - 2)
        std = torch.lerp(self.stds[left], self.stds[left + 1], place - left)
        return torch.where(std < self.identity_below, 0, std)

    def _at(self, t: Tensor) -> GaussianBlur:
        return GaussianBlur(
            self.image_shape,
            self.std(t),
            kernel_size=self.kernel_size,
            truncate=self.truncate,
            boundary=self.boundary,
        )


class MaskFamily(Family):
    """Dirac's inpainting: a soft hole of std = narrowest + t (widest - narrowest) pixels; at t = 0 none at all.

    Args:
        image_shape: (c, h, w).
        widest: in pixels; by default 50 at 256 pixels (faces; ImageNet has 30), and in proportion.
        narrowest: towards t = 0.
        power: of the profile.
    """

    def __init__(
        self, image_shape: Shape, widest: float | None = None, *, narrowest: float = 0.1, power: float = 4.0
    ) -> None:
        super().__init__(image_shape)
        self.widest = 50.0 * min(self.image_shape[1:]) / 256 if widest is None else widest
        self.narrowest, self.power = narrowest, power

    def _at(self, t: Tensor) -> SoftMask:
        std = torch.where(t > 0, self.narrowest + t * (self.widest - self.narrowest), 0)
        return SoftMask(self.image_shape, std, power=self.power)


class RandomMaskFamily(Family):
    """Flash-Diffusion's varying inpainting: a fraction `most` t of the pixels is missing, holes that only grow.

    Args:
        image_shape: (c, h, w).
        most: missing at t = 1.
        seed: of the map that decides which go first.
    """

    def __init__(self, image_shape: Shape, most: float = 0.8, *, seed: int = 0) -> None:
        super().__init__(image_shape)
        self.most, self.seed = most, seed

    def _at(self, t: Tensor) -> Mask:
        return Mask.random(self.image_shape, self.most * t, self.seed)
