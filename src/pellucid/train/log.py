"""What a run says about itself: one JSON line a step in `log.jsonl`, and TensorBoard where it is installed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from torch import Tensor

from pellucid.images.atomic import replacing


class Log:
    """Scalars and pictures by step. Lines of steps that a resumed run repeats are dropped first.

    Args:
        folder: of the run.
        step: the last step that counts; what was logged after it will come again.
    """

    def __init__(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "log.jsonl"
        _cut(self.path, step)
        self.file = self.path.open("a")
        self.board: Any = _board(folder / "tensorboard", step)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Writes `values`, e.g. {"loss": 0.1}."""
        self.file.write(json.dumps({"step": step, **values}) + "\n")
        if self.board:
            for name, value in values.items():
                self.board.add_scalar(name, value, step)

    def picture(self, step: int, name: str, grid: Tensor) -> None:
        """Shows a picture (3 or 1, h, w) in [0, 1]."""
        if self.board:
            self.board.add_image(name, grid.float().clamp(0, 1).cpu(), step)

    def flush(self) -> None:
        """Puts the lines on disk, so that they are there whenever the checkpoint beside them is."""
        self.file.flush()
        os.fsync(self.file.fileno())
        if self.board:
            self.board.flush()

    def close(self) -> None:
        """Ends the log."""
        self.flush()
        self.file.close()
        if self.board:
            self.board.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; a line that a kill cut short is left out."""
    lines = []
    for line in (folder / "log.jsonl").read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines


def _cut(path: Path, step: int) -> None:
    if not path.exists():
        return
    kept = [line for line in read_log(path.parent) if line["step"] <= step]
    with replacing(path) as partial:
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept))


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
