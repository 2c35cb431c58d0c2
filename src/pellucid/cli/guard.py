"""Around every command: what goes wrong becomes one line on stderr and an exit code."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from pellucid.errors import PellucidError

EXTRAS = {"accelerate": "train", "diffusers": "diffusers", "matplotlib": "plots", "openvino": "openvino"}
INTERNAL, INTERRUPTED = 70, 130


def main() -> None:
    """Entry point of `pellucid`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs a command line and returns its exit code; 0 is success, the others are in `pellucid.errors`.

    With PELLUCID_TRACEBACK set, unexpected errors keep their traceback.
    """
    from pellucid.cli.app import app

    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = app(args=list(arguments) or ["--help"], prog_name="pellucid", standalone_mode=False)
            sys.stdout.flush()
        if code == INTERRUPTED:  # the framework has caught it already
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except BrokenPipeError:  # `pellucid list methods | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except (KeyboardInterrupt, Exception) as error:
        if os.environ.get("PELLUCID_TRACEBACK") and not isinstance(error, PellucidError):
            raise
        code, text = _explain(error)
        print(f"pellucid: {' '.join(text.split())}", file=sys.stderr)
        return code


def _explain(error: BaseException) -> tuple[int, str]:
    if isinstance(error, PellucidError):
        return error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return INTERRUPTED, "interrupted; a file that was not finished is not there"
    if message := getattr(error, "format_message", None):  # a usage error of typer's
        return int(getattr(error, "exit_code", 2)), message()
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        return 1, f"this needs {error.name}; install it with: pip install 'pellucid[{EXTRAS[error.name]}]'"
    if isinstance(error, MemoryError) or "alloc" in str(error) or type(error).__name__ == "OutOfMemoryError":
        return 1, f"not enough memory; try --max-side, or fewer samples ({error})"
    if isinstance(error, OSError):
        return 1, f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return INTERNAL, f"internal error, please report it (PELLUCID_TRACEBACK=1 shows where): {error!r}"


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    if issubclass(category, UserWarning):
        print(f"pellucid: warning: {message}", file=sys.stderr)
