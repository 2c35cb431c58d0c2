"""What is scored on the way is the picture, and costs the method neither time nor memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from pellucid.bench import trajectory
from pellucid.bench.plan import Plan
from pellucid.bench.run import bench
from pellucid.bench.store import Store
from pellucid.bench.trajectory import Recorder
from pellucid.codec.autoencoder import AutoencoderCodec
from pellucid.metrics import METRICS, Protocol, memory, psnr
from pellucid.metrics.memory import peak_memory, unmeasured
from pellucid.operators import parse

Plans = Callable[..., Plan]
MIB = 2**20
LINUX = pytest.mark.skipif(not memory.STATUS.exists(), reason="the high-water mark is Linux's")


class Blocks(nn.Module):
    """An autoencoder of means over 4 x 4 pixels."""

    def encode(self, x: Tensor) -> Tensor:
        return avg_pool2d(x, 4)

    def decode(self, z: Tensor) -> Tensor:
        return interpolate(z, scale_factor=4)


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 18, 22)])
def test_latents_are_scored_as_pictures_of_the_right_size_and_colour(shape: tuple[int, ...]) -> None:
    codec = AutoencoderCodec(Blocks(), factor=4, latent_channels=3, channels=3)
    truth = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    operator = parse("identity").build(shape)
    prior: Any = SimpleNamespace(codec=codec)
    recorder = Recorder(["psnr", "residual"], Protocol(), prior, truth, truth, operator)
    z = codec.encode(truth)
    step: Any = SimpleNamespace(
        raw=SimpleNamespace(x0=z), reached=z, index=0, s=torch.zeros(2), state=SimpleNamespace(t=torch.ones(2))
    )
    recorder(step)
    image = codec.picture(z, shape)
    assert image.shape == truth.shape and len(recorder.rows) == 2
    for i, row in recorder.rows:
        assert row["psnr"] == row["raw_psnr"] == pytest.approx(float(psnr(image, truth)[i]))
        assert row["residual"] == pytest.approx(float((image - truth)[i].square().mean().sqrt()), rel=1e-5)


def touch(mebibytes: int) -> Any:
    return np.ones(mebibytes * MIB, dtype=np.uint8)


@LINUX
def test_unmeasured_work_counts_neither_at_its_peak_nor_by_what_it_keeps() -> None:
    with peak_memory() as peak:
        touch(40)
        with unmeasured():
            kept = touch(150)
            touch(200)
        touch(64)
    if not peak.exact:
        pytest.skip("this system does not let the mark be set back")
    assert 60 * MIB < peak.increment < 100 * MIB and len(kept)


@LINUX
def test_the_memory_of_scoring_is_not_the_methods(plan: Plans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*args: Any, **options: Any) -> Tensor:
        touch(300)
        return METRICS["psnr"](*args, **options)

    with peak_memory() as peak:
        pass
    if not peak.exact:
        pytest.skip("this system does not let the mark be set back")
    monkeypatch.setattr(trajectory, "scores", SimpleNamespace(find=lambda name: greedy))
    bench(plan(trajectory=["psnr"], method=[{"name": "ddnm", "nfe": 3}]), tmp_path)
    rows = Store(tmp_path).read()
    assert len(rows) == 3 and all(0 <= row["memory_mib"] < 150 for row in rows)
    assert all(row["memory_total_mib"] > 50 for row in rows)
