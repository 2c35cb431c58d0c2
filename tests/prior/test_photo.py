"""What the shipped prior makes of a photograph, where a mistake would show in no closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid import zoo
from pellucid.errors import PellucidError
from pellucid.loop import reconstruct
from pellucid.methods import METHODS
from pellucid.metrics.pixels import psnr
from pellucid.operators.text import parse
from pellucid.problem import Problem


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    try:
        path = zoo.example()
    except PellucidError:
        pytest.skip("the photograph prior is not in this checkout")
    with Image.open(path) as image:
        side = min(image.size)
        small = image.convert("RGB").crop((0, 0, side, side)).resize((64, 64), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1)[None] / 255


def test_dps_gains_on_a_wide_blur_with_few_calls(picture: torch.Tensor) -> None:
    """With a step twice as long as `PosteriorGuidance` allows, coarse grids diverge here, to 14 dB."""
    blur = parse("gaussian-blur:std=2").build((3, 64, 64))
    y = blur(picture) + 0.02 * torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    prior = zoo.load("photo", precision="float32")
    result = reconstruct(Problem(y, blur, 0.02), prior, METHODS["dps"].build(20), seeds=0)
    assert float(psnr(result.image, picture)) > float(psnr(y, picture)) + 0.3
