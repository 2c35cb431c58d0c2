"""Checkpoints that a kill at any moment cannot spoil: written beside, renamed, rotated."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import torch

from pellucid.images.atomic import replacing


class Checkpoints:
    """The checkpoints of one run, `folder/step-0001000.pt`.

    Args:
        folder: made when the first one is saved.
        keep: how many of the newest stay.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder, keep

    def files(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob("step-*.pt"))

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Writes the state of a step, then forgets the oldest ones."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for stale in self.folder.glob(".step-*.partial.pt"):  # of a save that was killed
            stale.unlink(missing_ok=True)
        path = self.folder / f"step-{step:08d}.pt"
        with replacing(path) as partial, partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        # Files that are newer by name are of a run that was passed over as damaged; the one just written always stays.
        for other in self.files():
            if other > path:
                other.unlink(missing_ok=True)
        for old in self.files()[: -self.keep]:
            old.unlink(missing_ok=True)
        return path

    def load(self, device: torch.device | str = "cpu") -> tuple[Path, dict[str, Any]] | None:
        """The newest one that can be read, None where there is none; a damaged one is passed over with a warning."""
        for path in reversed(self.files()):
            try:
                return path, torch.load(path, map_location=device, weights_only=True)
            except Exception as error:  # whatever is wrong with the file, the one before it will do
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                warnings.warn(f"checkpoint {path} is damaged and was passed over: {reason}", stacklevel=2)
        return None
