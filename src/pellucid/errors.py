"""Every error that pellucid raises on purpose.

    PellucidError
    ├── OperatorError           an operator's text or parameters are wrong
    │   └── ShapeError          a tensor, or a picture, does not fit the operator
    ├── CompatibilityError      parts that cannot work together
    │   └── NeedsCapability     a method needs an operator (or process) that can do more
    ├── ProblemError            the measurement or its noise level is unusable
    ├── ConfigError             a configuration file, or an option, is wrong
    ├── UnknownNameError        no method, operator or prior of that name
    ├── CheckError              an operator's adjoint or inverse is not what it says (operators/check.py)
    ├── PriorError              a prior's files are missing or damaged
    ├── MetricError             a metric lacks its weights or its library (metrics/errors.py)
    └── ImageFileError          a picture cannot be read or written

`exit_code` is what the command line ends with.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PellucidError(Exception):
    """Base of all errors raised on purpose; the text names the thing and the remedy."""

    exit_code = 1


class OperatorError(PellucidError):
    """An operator's text or parameters are wrong."""

    exit_code = 3


class ShapeError(OperatorError):
    """A tensor, or a picture, does not fit the operator."""

    exit_code = 4


class CompatibilityError(PellucidError):
    """Parts that cannot work together; raised before any work is done."""

    exit_code = 5


class NeedsCapability(CompatibilityError):
    """A method needs an operator or a process that can do more; the text says what would do."""


class ProblemError(PellucidError):
    """The measurement or its noise level is unusable: NaN, negative noise, a wrong length."""

    exit_code = 6


class ConfigError(PellucidError):
    """A configuration file, or an option, is wrong."""

    exit_code = 7


class UnknownNameError(PellucidError):
    """No method, operator or prior of that name; the text gives the nearest one."""

    exit_code = 8

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}"
        super().__init__(f"there is no {kind} named {name!r}; {hint}")


class PriorError(PellucidError):
    """A prior's files are missing or damaged."""

    exit_code = 9


class ImageFileError(PellucidError):
    """A picture cannot be read or written."""

    exit_code = 10


def require_range(name: str, value: float, low: float, high: float = float("inf"), *, above: bool = False) -> None:
    """Raises `CompatibilityError` unless low <= value <= high, or low < value <= high if `above`; NaN never passes."""
    if (low < value if above else low <= value) and value <= high:
        return
    bounds = f"above {low:g}" if above else f"at least {low:g}"
    limit = f" and at most {high:g}" if high < float("inf") else ""
    raise CompatibilityError(f"{name} must be {bounds}{limit}, not {value}")
