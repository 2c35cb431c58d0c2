"""Schedules of degradations in small files, with where they are from."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from pellucid.errors import ConfigError

FORMAT = "pellucid schedule 1"
MAX_BYTES, MAX_POINTS = 1_000_000, 10_000


@dataclass(frozen=True)
class Schedule:
    """A family's parameter at evenly spaced times.

    Attributes:
        family: whose: "blur".
        parameter: which: "std", in pixels.
        points: at t = 0, 1 / (n - 1), ..., 1; at least 0, not falling, more at the end than at the beginning.
        about: how it was made: metric, pictures, candidates, version, command.

    Raises:
        ConfigError: the points are no schedule.
    """

    family: str
    parameter: str
    points: tuple[float, ...]
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 2 <= len(self.points) <= MAX_POINTS:
            raise ConfigError(f"a schedule has 2 to {MAX_POINTS} points, not {len(self.points)}")
        if not all(math.isfinite(point) and point >= 0 for point in self.points):
            raise ConfigError("the points of a schedule must be finite and at least 0")
        if any(a > b for a, b in pairwise(self.points)) or self.points[0] == self.points[-1]:
            raise ConfigError("the points of a schedule must rise from the first to the last, and never fall")

    def write(self, path: Path) -> None:
        """To a JSON file, which is whole or not there. Raises `ImageFileError` where the system refuses."""
        from pellucid.images.atomic import replacing

        content = {"format": FORMAT, "family": self.family, "parameter": self.parameter, "points": self.points}
        with replacing(path) as partial:
            partial.write_text(json.dumps(content | {"about": self.about}, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, path: str | Path, family: str = "blur", parameter: str = "std") -> Schedule:
        """From such a file.

        Raises:
            ConfigError: it is missing, larger than 1 MB, no such file, or of another family.
        """
        path = Path(path)
        if not path.is_file():
            raise ConfigError(f"there is no schedule {path}; pellucid schedule makes one")
        try:
            with path.open("rb") as file:  # not more than is allowed, whatever the file says of its size
                raw = file.read(MAX_BYTES + 1)
            if len(raw) > MAX_BYTES:
                raise ConfigError(f"the schedule {path} is larger than {MAX_BYTES:,} bytes")
            content = json.loads(raw, parse_constant=_refuse)
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"cannot read the schedule {path}: {' '.join(str(error).split())}") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ConfigError(f"{path} is no schedule that pellucid has made: its format is not {FORMAT!r}")
        if (content.get("family"), content.get("parameter")) != (family, parameter):
            raise ConfigError(f"the schedule {path} is not of the {parameter} of {family}")
        points, about = content.get("points"), content.get("about", {})
        if not isinstance(points, list) or not all(type(point) in (int, float) for point in points):
            raise ConfigError(f"the points of the schedule {path} are not a list of numbers")
        try:
            return cls(family, parameter, tuple(map(float, points)), about if isinstance(about, dict) else {})
        except (ConfigError, OverflowError) as error:
            raise ConfigError(f"{path}: {error}") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")
