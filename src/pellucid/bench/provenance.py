"""What a result was made by: versions, commit, machine."""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import pellucid

PACKAGES = ("pellucid", "torch", "numpy", "pillow", "pyarrow", "torchmetrics", "diffusers", "optuna")


def commit() -> str | None:
    """The commit of the checkout that the package runs from, "+" if files differ from it; None outside of one."""
    here = str(Path(pellucid.__file__).resolve().parent)
    found = _git(here, "rev-parse", "HEAD")
    if found is None or _git(here, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    return found + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no", ".") else "")


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine(device: str) -> dict[str, Any]:
    """What it ran on."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "byteorder": sys.byteorder,
    }


def now() -> str:
    """The time, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _git(folder: str, *words: str) -> str | None:
    try:
        ran = subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ran.stdout.strip() if ran.returncode == 0 else None
