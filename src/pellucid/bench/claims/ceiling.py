"""How near the decoder's pictures come to the true ones: what a method that stays on its codes cannot pass."""

from __future__ import annotations

from pathlib import Path

import torch

from pellucid.bench.claims.results import save_table
from pellucid.bench.data import collect, stacked
from pellucid.bench.plan import Data
from pellucid.bench.scores import find
from pellucid.metrics.protocol import PLAIN
from pellucid.zoo import load_autoencoder

COLUMNS = ("image", "size", "codec", "psnr", "effnet_distance")


def study(codec: str, data: Data, out: Path) -> None:
    """D(E(x)) of true pictures, with the code book.

    Raises:
        ConfigError, UnknownNameError: there are no such pictures, or no such autoencoder.
    """
    autoencoder = load_autoencoder(codec)
    rows = []
    for image in collect(data):
        x = stacked(data, [image])
        with torch.no_grad():
            again = autoencoder.picture(autoencoder.encode(x), tuple(x.shape[1:])).clamp(0, 1)
        scores = {name: float(find(name)(again, x, protocol=PLAIN)) for name in COLUMNS[3:]}
        rows.append({"image": image.name, "size": x.shape[-1], "codec": codec, **scores})
    save_table(out, rows, COLUMNS)
