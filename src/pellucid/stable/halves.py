"""Weights that were published in half precision alone, under a name of their own (`*.fp16.safetensors`)."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pellucid.errors import PriorError


@contextmanager
def plainly_named(folder: Path, stem: str) -> Iterator[Path]:
    """The folder of a part; a stand-in of links where its only safetensors are in half precision.

    `stable-diffusion-v1-5/stable-diffusion-inpainting` has no others. What reads them makes float32 of them.

    Args:
        folder: with config.json and weights.
        stem: of the weights' plain name.

    Raises:
        PriorError: whatever reads the stand-in raised it; it then names the folder itself.
    """
    plain, half = folder / f"{stem}.safetensors", folder / f"{stem}.fp16.safetensors"
    if plain.is_file() or (folder / f"{plain.name}.index.json").is_file() or not half.is_file():
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="pellucid-") as name:
        stand_in = Path(name)
        for source, target in ((folder / "config.json", "config.json"), (half, plain.name)):
            try:
                os.symlink(source.resolve(), stand_in / target)
            except OSError:  # a system without links
                shutil.copyfile(source, stand_in / target)
        try:
            yield stand_in
        except PriorError as error:
            raise PriorError(str(error).replace(name, str(folder))) from error
