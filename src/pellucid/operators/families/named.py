"""Families as text, `name:option=value,...`: what configurations and cards hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pellucid.errors import ConfigError, UnknownNameError
from pellucid.operators.families.base import Family
from pellucid.operators.families.blur import BlurFamily
from pellucid.operators.families.jpeg import JPEGFamily
from pellucid.operators.families.limits import require_number
from pellucid.operators.families.lowres import PixelationFamily
from pellucid.operators.families.masks import MaskFamily, RandomMaskFamily
from pellucid.operators.families.schedule_file import Schedule
from pellucid.operators.families.tone import ContrastFamily, ExposureFamily
from pellucid.operators.families.views import ViewFamily
from pellucid.operators.schedules import DIRAC_BLUR
from pellucid.typing import Shape

FamilyOf = Callable[[Shape], Family]
"""A family for pictures of a shape (c, h, w)."""


def blur_family(
    image_shape: Shape,
    widest: float | None = None,
    narrowest: float | None = None,
    schedule: str | Sequence[float] = "greedy",
) -> BlurFamily:
    """Gaussian blurs that widen, cut as Dirac's: along its released greedy schedule, evenly, or along one's own.

    Args:
        image_shape: (c, h, w).
        widest: std at t = 1, in pixels; as in the schedule (3) if not given. Other ends stretch it linearly.
        narrowest: std at t = 0; as in the schedule (0.3) if not given.
        schedule: "greedy", "linear", a file that `pellucid schedule` has written, or the stds themselves.

    Raises:
        ConfigError: another schedule, or the file cannot be read.
        CompatibilityError: the widths are not finite numbers, or the widest is not above the narrowest.
    """
    through = stds_of(schedule) if isinstance(schedule, str) else given_points(schedule, "blur")
    low, high = through[0], through[-1]
    first, last = low if narrowest is None else narrowest, high if widest is None else widest
    require_number("narrowest", first, 0)
    require_number("widest", last, first, above=True)
    stds = [first + (std - low) / (high - low) * (last - first) for std in through]
    return BlurFamily(image_shape, stds, identity_below=0.0)


def stds_of(schedule: str) -> tuple[float, ...]:
    """The blur's widths at evenly spaced times. Raises `ConfigError`."""
    if schedule == "greedy":
        return DIRAC_BLUR
    if schedule == "linear":
        return DIRAC_BLUR[0], DIRAC_BLUR[-1]
    if schedule.lower().endswith(".json"):
        return Schedule.read(schedule).points
    raise ConfigError(f"schedule must be greedy, linear or a .json file, not {schedule!r}")


def hole_family(
    image_shape: Shape,
    widest: float | None = None,
    narrowest: float = 0.1,
    power: float = 4.0,
    schedule: str | Sequence[float] = "linear",
) -> MaskFamily:
    """Dirac's soft hole: evenly, or along one's own schedule, stretched to the two ends.

    Args:
        image_shape: (c, h, w).
        widest, narrowest, power: see `MaskFamily`.
        schedule: "linear", a file that `pellucid schedule` has written, or the stds themselves.

    Raises:
        ConfigError: another schedule, or the file cannot be read.
    """
    if not isinstance(schedule, str):
        stds = given_points(schedule, "hole")
    elif schedule == "linear":
        stds = (0.0, 1.0)
    elif schedule.lower().endswith(".json"):
        stds = Schedule.read(schedule, "hole").points
    else:
        raise ConfigError(f"schedule must be linear or a .json file, not {schedule!r}")
    return MaskFamily(image_shape, widest, narrowest=narrowest, power=power, stds=stds)


def given_points(schedule: Sequence[float], name: str) -> tuple[float, ...]:
    """The points of a schedule that a card or a program gives.

    Raises:
        ConfigError: they are no list of numbers, or no `Schedule`.
    """
    if not isinstance(schedule, (list, tuple)) or not all(
        isinstance(point, (int, float)) and not isinstance(point, bool) for point in schedule
    ):
        raise ConfigError(f"the schedule of {name} is not a list of numbers")
    try:
        return Schedule(name, "std", tuple(map(float, schedule))).points
    except (ConfigError, OverflowError) as error:
        raise ConfigError(f"the schedule of {name}: {error}") from error


def points_of(text: str) -> tuple[float, ...] | None:
    """The points of the schedule file that a family's text names; None where it names none. Raises `ConfigError`."""
    from pellucid.methods.words import understood

    name, options = understood(text)
    file = options.get("schedule")
    if not isinstance(file, str) or not file.lower().endswith(".json"):
        return None
    return Schedule.read(file, name).points


FAMILIES: dict[str, Callable[..., Family]] = {
    "blur": blur_family,
    "contrast": ContrastFamily,
    "exposure": ExposureFamily,
    "hole": hole_family,
    "jpeg": JPEGFamily,
    "missing-pixels": RandomMaskFamily,
    "pixelation": PixelationFamily,
    "views": ViewFamily,
}


def family(text: str, schedule: Sequence[float] | None = None) -> FamilyOf:
    """`"blur:widest=3"` -> the family for any shape of pictures.

    Args:
        text: its name and options.
        schedule: the points of the file that the text names as its schedule, where the file may not be at hand.

    Raises:
        UnknownNameError: there is no such family.
        ConfigError: an option that it does not have, or points that are no schedule.
        PellucidError: a value that the family cannot take, by its name.
    """
    from pellucid.methods.words import understood

    name, options = understood(text)
    if name not in FAMILIES:
        raise UnknownNameError("family of degradations", name, FAMILIES)
    if schedule is not None:
        options["schedule"] = given_points(schedule, name)
    elif name == "blur" and isinstance(options.get("schedule"), str):
        options["schedule"] = stds_of(options["schedule"])  # a file is read once, not for every shape
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
