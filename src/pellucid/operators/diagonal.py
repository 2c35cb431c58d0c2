"""Operators that weigh every pixel on its own."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.errors import OperatorError
from pellucid.operators.base import Spectral
from pellucid.operators.parameters import picture_shape
from pellucid.typing import Shape


class Diagonal(Spectral):
    """y = w * x with weights w >= 0; U = V = I, S = w.

    Args:
        image_shape: (c, h, w).
        weights: (h, w), (1 or c, h, w), or (b, 1 or c, h, w) for one an image.
        rcond: weights of at most `rcond` times the largest count as holes in the pseudo-inverse.

    Raises:
        OperatorError: the weights are negative or not finite, or their shape is not the picture's.
    """

    def __init__(self, image_shape: Shape, weights: Tensor, *, rcond: float = 1e-6) -> None:
        c, h, w = picture_shape(image_shape)
        weights = weights.detach().to("cpu", torch.float64)
        weights = weights[None] if weights.ndim == 2 else weights
        batch = len(weights) if weights.ndim == 4 else None
        super().__init__(image_shape, batch=batch, rcond=rcond)
        weights = weights if weights.ndim == 4 else weights[None]
        if tuple(weights.shape[1:]) not in ((1, h, w), (c, h, w)):
            raise OperatorError(f"weights of shape {tuple(weights.shape)} do not fit a picture of {(c, h, w)}")
        if not (weights.isfinite() & (weights >= 0)).all():
            raise OperatorError("weights must be finite and not negative")
        self.hold("weights", weights)

    def singular_values(self, like: Tensor) -> Tensor:
        """The weights, (1 or b, 1 or c, h, w)."""
        return self.constant("weights", like)

    def _to_spectrum(self, x: Tensor) -> Tensor:
        return x

    def _from_spectrum(self, c: Tensor) -> Tensor:
        return c

    def _measured_to_spectrum(self, y: Tensor) -> Tensor:
        return y

    def _spectrum_to_measured(self, c: Tensor) -> Tensor:
        return c


class Identity(Diagonal):
    """y = x: denoising.

    Args:
        image_shape: (c, h, w).
    """

    def __init__(self, image_shape: Shape) -> None:
        _, h, w = picture_shape(image_shape)
        super().__init__(image_shape, torch.ones(h, w))
