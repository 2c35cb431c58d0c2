"""What a description announces, found out without memory for it: a hostile one asks for more than a machine has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pellucid.errors import PriorError

MOST_CALLS = 50_000  # of torch while a network is built; Stable Diffusion's U-Net makes 3,630


class _Counted(TorchFunctionMode):
    """Ends the making of a network that has no end: a billion layers cost no memory on `meta`, but Python's own."""

    def __init__(self) -> None:
        super().__init__()
        self.left = MOST_CALLS

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.left -= 1
        if self.left < 0:
            raise ValueError("it has too many layers")
        return func(*args, **(kwargs or {}))


def announced(build: Callable[[], nn.Module], what: str) -> dict[str, tuple[int, ...]]:
    """{key: shape} of the state dict of a module, as `announced_state`, which see."""
    return {key: tuple(value.shape) for key, value in announced_state(build, what).items()}


def announced_state(build: Callable[[], nn.Module], what: str) -> dict[str, Tensor]:
    """The state dict of a module, which is built on the meta device, without memory for its numbers.

    Args:
        build: makes the module.
        what: begins the error's text.

    Raises:
        PriorError: it cannot be built, or a library that it needs is not installed.
    """
    try:
        with torch.device("meta"), _Counted():
            module = build()
    except PriorError:
        raise
    except Exception as error:  # the words of a file from outside: what they make of a constructor is anyone's guess
        raise PriorError(f"{what}: {_said(error)}") from error
    return dict(module.state_dict())


def elements(shapes: dict[str, tuple[int, ...]]) -> int:
    """How many numbers these are."""
    return sum(torch.Size(shape).numel() for shape in shapes.values())


def _said(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
