"""What people read: results on stdout, everything else on stderr."""

from __future__ import annotations

import sys

NOTICE = (
    "A prior invents detail: the result is plausible, it is not what was there. "
    "Never use it for diagnosis, as evidence, or to find out who or what is in a picture."
)


def say(text: str) -> None:
    """A line on stdout."""
    print(text, flush=True)


def note(text: str) -> None:
    """A line on stderr, beside the result."""
    print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """A length of time as people say it: 0.4 s, 12 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
