"""Families as text, `name:option=value,...`: what configurations and cards hold."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pellucid.errors import ConfigError, UnknownNameError
from pellucid.operators.families.base import Family
from pellucid.operators.families.blur import BlurFamily
from pellucid.operators.families.jpeg import JPEGFamily
from pellucid.operators.families.lowres import PixelationFamily
from pellucid.operators.families.masks import MaskFamily, RandomMaskFamily
from pellucid.operators.families.tone import ContrastFamily, ExposureFamily
from pellucid.operators.families.views import ViewFamily
from pellucid.operators.schedules import DIRAC_BLUR
from pellucid.typing import Shape

FamilyOf = Callable[[Shape], Family]
"""A family for pictures of a shape (c, h, w)."""


def blur_family(
    image_shape: Shape, widest: float = 3.0, narrowest: float = 0.3, schedule: str = "greedy"
) -> BlurFamily:
    """Dirac's blur from `narrowest` to `widest`: along the released greedy schedule, or evenly.

    Other widths than 0.3 and 3 stretch the greedy schedule linearly.

    Raises:
        ConfigError: another schedule.
    """
    if schedule not in ("greedy", "linear"):
        raise ConfigError(f"schedule must be greedy or linear, not {schedule!r}")
    low, high = DIRAC_BLUR[0], DIRAC_BLUR[-1]
    through = DIRAC_BLUR if schedule == "greedy" else (low, high)
    stds = [narrowest + (std - low) / (high - low) * (widest - narrowest) for std in through]
    return BlurFamily(image_shape, stds, identity_below=0.0)


FAMILIES: dict[str, Callable[..., Family]] = {
    "blur": blur_family,
    "contrast": ContrastFamily,
    "exposure": ExposureFamily,
    "hole": MaskFamily,
    "jpeg": JPEGFamily,
    "missing-pixels": RandomMaskFamily,
    "pixelation": PixelationFamily,
    "views": ViewFamily,
}


def family(text: str) -> FamilyOf:
    """`"blur:widest=3"` -> the family for any shape of pictures.

    Raises:
        UnknownNameError: there is no such family.
        ConfigError: an option that it does not have.
    """
    from pellucid.methods.words import understood

    name, options = understood(text)
    if name not in FAMILIES:
        raise UnknownNameError("family of degradations", name, FAMILIES)
    made: FamilyOf = partial(_make, FAMILIES[name], text, options)
    made((3, 64, 64))
    return made


def _make(kind: Callable[..., Family], text: str, options: dict[str, Any], image_shape: Shape) -> Family:
    try:
        made = kind(image_shape, **options)
    except TypeError as error:
        raise ConfigError(f"the family {text}: {str(error).partition(') ')[2] or error}") from error
    made.text = text
    return made
