"""How pictures are prepared before they are compared: the one place of range, clipping, crop and colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from pellucid.errors import ConfigError
from pellucid.metrics.errors import MetricError

Colour = Literal["rgb", "y"]

# ITU-R BT.601 luma in studio range, black 16 and white 235 of 255: what super-resolution papers measure on.
BLACK, WEIGHTS = 16 / 255, (65.481 / 255, 128.553 / 255, 24.966 / 255)


@dataclass(frozen=True)
class Protocol:
    """What is done to both pictures before a metric sees them; a number means little without it.

    Attributes:
        clip: whether values outside of [0, 1] are clipped, as a file or a screen does.
        border: pixels that are cut off on every side.
        colour: "rgb" takes the channels as they are; "y" the luma of BT.601, in its studio range
            Y = (16 + 65.481 R + 128.553 G + 24.966 B) / 255, where a grey picture counts as R = G = B.

    Raises:
        ConfigError: the border is negative, or the colour is none of the two.
    """

    clip: bool = True
    border: int = 0
    colour: Colour = "rgb"

    def __post_init__(self) -> None:
        if self.border < 0:
            raise ConfigError(f"the border must be 0 or more pixels, not {self.border}")
        if self.colour not in get_args(Colour):
            raise ConfigError(f"the colour must be one of {', '.join(get_args(Colour))}, not {self.colour!r}")

    @property
    def text(self) -> str:
        """To be printed beside the numbers."""
        parts = [
            "range [0, 1]",
            "clipped" if self.clip else "not clipped",
            f"border of {self.border} px cut off" if self.border else "no border cut off",
            "RGB (grey: one channel)" if self.colour == "rgb" else "Y of BT.601 (16-235)",
        ]
        return ", ".join(parts)

    def prepare(self, x: Tensor) -> Tensor:
        """(b, c, h, w) in [0, 1] -> (b, c or 1, h - 2 border, w - 2 border).

        Raises:
            MetricError: it is no batch of pictures, has neither 1 nor 3 channels for "y", or nothing is left of it.
        """
        if x.ndim != 4:
            raise MetricError(f"metrics take pictures (batch, channels, height, width), not the shape {tuple(x.shape)}")
        if min(x.shape[-2:]) <= 2 * self.border:
            raise MetricError(
                f"a border of {self.border} px leaves nothing of pictures of {x.shape[-2]} x {x.shape[-1]}"
            )
        if self.clip:
            x = x.clamp(0, 1)
        if self.border:
            x = x[..., self.border : -self.border, self.border : -self.border]
        return luma(x) if self.colour == "y" else x


PLAIN = Protocol()


def luma(x: Tensor) -> Tensor:
    """(b, 1 or 3, h, w) in [0, 1] -> Y of BT.601 in studio range, (b, 1, h, w) in [16, 235] / 255.

    Raises:
        MetricError: it has neither 1 nor 3 channels.
    """
    if x.shape[1] not in (1, 3):
        raise MetricError(f"luma is defined for 1 or 3 channels, not {x.shape[1]}")
    weights = torch.tensor(WEIGHTS, dtype=x.dtype, device=x.device).reshape(1, 3, 1, 1)
    return BLACK + (weights * x).sum(1, keepdim=True)


def require_pair(x: Tensor, truth: Tensor) -> None:
    """Raises `MetricError` unless both are batches of one shape."""
    if x.shape != truth.shape:
        raise MetricError(f"pictures of the shapes {tuple(x.shape)} and {tuple(truth.shape)} cannot be compared")
