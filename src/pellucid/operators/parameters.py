"""Parameters that may differ from image to image: one value for all, or one an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pellucid.errors import OperatorError
from pellucid.typing import Shape

PerImage = float | Sequence[float] | Tensor


def per_image(value: PerImage, name: str, *, at_least: float, at_most: float = float("inf")) -> Tensor:
    """A parameter as float64, (1,) if all images share it and (b,) if each has its own.

    Raises:
        OperatorError: it is not finite, not one number an image, or outside [at_least, at_most].
    """
    tensor = torch.as_tensor(value, dtype=torch.float64).detach().cpu()
    if tensor.ndim > 1 or tensor.numel() == 0:
        raise OperatorError(f"{name} must be one number, or one an image, not of shape {tuple(tensor.shape)}")
    if not (tensor.isfinite() & (tensor >= at_least) & (tensor <= at_most)).all():
        wanted = f"at least {at_least:g}" if at_most == float("inf") else f"between {at_least:g} and {at_most:g}"
        raise OperatorError(f"{name} must be {wanted}, not {tensor.tolist()}")
    return tensor.reshape(-1)


def common_batch(*values: PerImage | None) -> int | None:
    """The number of images that parameters are for: None when all are plain numbers.

    Raises:
        OperatorError: two parameters are for different numbers of images.
    """
    sizes = {len(v) for v in values if isinstance(v, Sequence) or (isinstance(v, Tensor) and v.ndim > 0)}
    if len(sizes) > 1:
        raise OperatorError(f"parameters are for different numbers of images: {sorted(sizes)}")
    return sizes.pop() if sizes else None


def picture_shape(image_shape: Shape) -> tuple[int, int, int]:
    """(c, h, w) of a picture.

    Raises:
        OperatorError: it is not three positive numbers.
    """
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise OperatorError(f"a picture's shape is (channels, height, width), not {tuple(image_shape)}")
    c, h, w = image_shape
    return c, h, w
