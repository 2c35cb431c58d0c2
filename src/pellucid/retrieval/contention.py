"""Changes to a table that several programs change at once: made again where another one's came first."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

from pellucid.errors import ConfigError

ATTEMPTS = 8
PAUSE = 0.2  # seconds, at most, after the first attempt; then twice as long every time
WORDS = ("conflict", "contention", "retry", "preempted")
SOURCE = re.compile(r", /\S+\.rs")  # where in LanceDB's own source an error arose

T = TypeVar("T")


class Busy(ConfigError):
    """Others kept changing the table for all attempts; nothing was changed."""


def retried(change: Callable[[], T], what: str) -> T:
    """The change's result; a change that LanceDB took back in favour of another's is tried again, 8 times in all.

    Args:
        change: one commit: it is there whole or not at all.
        what: cannot be done, for errors.

    Raises:
        Busy: others never left the table alone.
        ConfigError: the table cannot be changed, for any other reason.
    """
    for attempt in range(ATTEMPTS):
        try:
            return change()
        except (OSError, RuntimeError, ValueError) as error:
            if not conflicting(error):
                raise ConfigError(f"{what}: {said(error)}") from error
            if attempt + 1 == ATTEMPTS:
                raise Busy(f"{what}, others are changing it: {said(error)}") from error
        time.sleep(random.uniform(0, PAUSE * 2**attempt))
    raise AssertionError


def conflicting(error: BaseException) -> bool:
    """Whether LanceDB took a change back because of another's."""
    text = str(error).lower()
    return any(word in text for word in WORDS)


def said(error: BaseException) -> str:
    """What LanceDB says, without its own source's places."""
    text = " ".join(str(error).split())
    return SOURCE.split(text, maxsplit=1)[0][:300] or type(error).__name__
