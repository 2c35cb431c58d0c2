"""The pictures that no choice on the cards was made on: every other one of the evaluation pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

from pellucid.errors import ConfigError
from pellucid.images import SUFFIXES
from pellucid.images.atomic import replacing


def study(pictures: Path, out: Path) -> None:
    """Copies every other picture of a folder, the second first, as `train.tasks.dirac` leaves them.

    Raises:
        ConfigError: there are fewer than two.
    """
    files = sorted(path for path in pictures.iterdir() if path.suffix.lower() in SUFFIXES) if pictures.is_dir() else []
    if len(files) < 2:
        raise ConfigError(f"{pictures} holds {len(files)} pictures; half of them are wanted")
    out.mkdir(parents=True, exist_ok=True)
    for file in files[1::2]:
        with replacing(out / file.name) as partial:
            shutil.copyfile(file, partial)
