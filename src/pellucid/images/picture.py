"""A picture in memory: pixels, what was kept aside, and where its numbers came from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pellucid.images.ct import CT
from pellucid.typing import Shape

Depth = Literal["8", "16", "float"]
Quantity = Literal["picture", "measurement", "spread"]


@dataclass(frozen=True)
class Metadata:
    """What a file says about its picture.

    Attributes:
        icc: the colour profile that the pixels are in.
        exif: descriptive tags only; the orientation is applied to the pixels and gone.
        dpi: pixels an inch, (x, y).
        texts: comments by keyword.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    texts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """A picture, or a measurement of any shape from a `.npy` or `.npz` file.

    Attributes:
        pixels: (1, h, w) for grey and (3, h, w) for colour, float32; 0 is black, 1 is white.
        alpha: (1, h, w) opacity, kept aside while the pixels are worked on; None for an opaque picture.
        depth: what the file held a value in: "8" or "16" bits, or "float".
        metadata: of the file.
        ct: what 0 and 1 are in Hounsfield units and where the slice lies, of a picture that is CT.
        quantity: what the pixels are: a "picture", a "measurement" that is none (a sinogram), or the "spread", a
            standard deviation, of pictures.
        image_shape: of the picture that a measurement is of, where the file says it.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    depth: Depth = "8"
    metadata: Metadata = Metadata()
    ct: CT | None = None
    quantity: Quantity = "picture"
    image_shape: Shape | None = None

    @property
    def is_image(self) -> bool:
        """Whether the pixels are a grey or colour picture, and not some other measurement."""
        return self.quantity != "measurement" and self.pixels.ndim == 3 and self.pixels.shape[0] in (1, 3)

    def with_pixels(self, pixels: Tensor) -> Picture:
        """A picture of other pixels under the same alpha (resized where they differ in size), metadata and geometry."""
        alpha = self.alpha
        if alpha is not None and alpha.shape[1:] != pixels.shape[1:]:
            alpha = resize(alpha, pixels.shape[1:])
        # A grey profile does not describe colour pixels, nor a colour profile grey ones.
        same_kind = pixels.shape[0] == self.pixels.shape[0]
        metadata = self.metadata if same_kind else replace(self.metadata, icc=None)
        ct = None if self.ct is None else self.ct.resampled(*pixels.shape[-2:])
        return Picture(pixels, alpha, self.depth, metadata, ct)

    def measured(self, y: Tensor) -> Picture:
        """A measurement of this picture that is none itself; the geometry stays this picture's."""
        shape = tuple(self.pixels.shape)
        return Picture(y, None, "float", ct=self.ct, quantity="measurement", image_shape=shape)

    def at_most(self, max_side: int) -> Picture:
        """Reduced, by antialiased bicubic interpolation, so that no side is longer than `max_side`."""
        height, width = self.pixels.shape[-2:]
        scale = max_side / max(height, width)
        if scale >= 1:
            return self
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        return self.with_pixels(resize(self.pixels, size))


def resize(pixels: Tensor, size: Shape) -> Tensor:
    """(c, h, w) -> (c, *size), antialiased bicubic, kept within the range that it had."""
    out = interpolate(pixels[None], tuple(size), mode="bicubic", antialias=True, align_corners=False)[0]
    return out.clamp(pixels.amin(), pixels.amax())


def from_array(array: np.ndarray) -> tuple[Tensor, Tensor | None]:
    """(h, w) or (h, w, 1 to 4) of uint8, uint16 or float -> pixels and alpha in [0, 1]."""
    planes = array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)
    scale = float(np.iinfo(array.dtype).max) if array.dtype.kind == "u" else 1.0
    values = torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float32)) / scale
    if len(values) in (2, 4):
        return values[:-1], values[-1:]
    return values, None


def to_array(picture: Picture, depth: Depth) -> np.ndarray:
    """(h, w) or (h, w, c) with the alpha as the last channel; integers are clipped to [0, 1] and rounded."""
    planes = picture.pixels if picture.alpha is None else torch.cat([picture.pixels, picture.alpha])
    array = np.moveaxis(planes.detach().cpu().numpy().astype(np.float32), 0, 2)
    if depth != "float":
        white, kind = (255, np.uint8) if depth == "8" else (65535, np.uint16)
        array = np.rint(array.clip(0, 1) * np.float32(white)).astype(kind)
    return np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array)
