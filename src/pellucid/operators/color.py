"""Colour that was lost."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from pellucid.errors import OperatorError, ShapeError
from pellucid.operators.base import Spectral
from pellucid.operators.parameters import picture_shape
from pellucid.typing import Shape

WEIGHTINGS = {
    "mean": (0.3333, 0.3334, 0.3333),
    "luma": (0.299, 0.587, 0.114),
}


class Grey(Spectral):
    """y = w^T x at every pixel, for a picture of three channels: colourisation.

    A single singular value |w| a pixel, with the left vector 1 and the right vector w / |w|. With weights "mean"
    (DDRM, DDNM, SSD) the pseudo-inverse nearly repeats the grey value; "luma" is that of Rec. 601.

    Args:
        image_shape: (3, h, w).
        weights: "mean" or "luma".
        rcond: without effect: all singular values are equal.

    Raises:
        ShapeError: the picture does not have three channels.
    """

    def __init__(self, image_shape: Shape, weights: str = "mean", *, rcond: float = 1e-6) -> None:
        c, h, w = picture_shape(image_shape)
        if c != 3:
            raise ShapeError(f"Grey takes pictures of 3 channels, not {c}")
        if weights not in WEIGHTINGS:
            raise OperatorError(f"grey weights are one of {', '.join(WEIGHTINGS)}, not {weights!r}")
        super().__init__(image_shape, (1, h, w), rcond=rcond)
        self.hold("weights", torch.tensor([WEIGHTINGS[weights]], dtype=torch.float64))

    def _derive(self) -> None:
        weights = self.get_buffer("weights")
        length = torch.linalg.vector_norm(weights)
        # The Householder reflection that takes the first axis to w / |w| is an orthogonal, symmetric V.
        axis = torch.eye(3, dtype=torch.float64, device=weights.device)[:1]
        normal = torch.nn.functional.normalize(weights / length - axis)
        self.hold("basis", (torch.eye(3).to(normal) - 2 * normal.mT @ normal)[None], derived=True)
        self.hold("singular", (length * axis).reshape(1, 3, 1, 1), derived=True)

    def singular_values(self, like: Tensor) -> Tensor:
        """(|w|, 0, 0) over the channels of the spectrum: (1, 3, 1, 1)."""
        return self.constant("singular", like)

    def _rotate(self, x: Tensor) -> Tensor:
        return torch.einsum("ij,bjhw->bihw", self.constant("basis", x)[0], x)

    def _forward(self, x: Tensor) -> Tensor:
        return (self.constant("weights", x)[:, :, None, None] * x).sum(1, keepdim=True)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.constant("weights", y)[:, :, None, None] * y

    def _to_spectrum(self, x: Tensor) -> Tensor:
        return self._rotate(x)

    def _from_spectrum(self, c: Tensor) -> Tensor:
        return self._rotate(c)

    def _measured_to_spectrum(self, y: Tensor) -> Tensor:
        return pad(y, (0, 0, 0, 0, 0, 2))

    def _spectrum_to_measured(self, c: Tensor) -> Tensor:
        return c[:, :1]
