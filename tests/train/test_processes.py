"""Training in a process of its own, killed at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

CONFIG = """
data = "{data}"
out = "{out}"
steps = {steps}
pixels = 2048
crops = [16, 32]
crop_odds = [0.5, 0.5]
warmup = 2
checkpoint_every = 3
sample_every = 0
precision = "no"
threads = 1
[network]
widths = [8, 16]
blocks = [1, 1]
heads = 1
embedding = 16
"""


def configuration(folder: Path, out: str, steps: int = 600) -> Path:
    data = folder / "data"
    data.mkdir(exist_ok=True)
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(picture).save(data / "a.png")
    path = folder / f"{out}.toml"
    path.write_text(CONFIG.format(data=data, out=folder / out, steps=steps))
    return path


def command(config: Path) -> list[str]:
    return [sys.executable, "-m", "pellucid", "train", "prior", str(config)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoint.pt", weights_only=True)["model"]


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    subprocess.run(command(configuration(tmp_path, "whole")), check=True, capture_output=True)
    killed = configuration(tmp_path, "killed")
    kills = 0
    for wait in (2.5, 3.0, 3.5, 4.0, 4.5):
        process = subprocess.Popen(command(killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(wait)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    subprocess.run(command(killed), check=True, capture_output=True)
    a, b = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert kills > 0 and all(torch.equal(a[key], b[key]) for key in a)
