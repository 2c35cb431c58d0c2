"""Motion blur kernels for any seed."""

from __future__ import annotations

import pytest
import torch

from pellucid.operators.motion import motion_kernel


@pytest.mark.parametrize("seed", [4, 82, 98, 110, 119])
def test_a_path_that_begins_beyond_the_canvas_is_a_kernel_too(seed: int) -> None:
    kernel = motion_kernel(seed, 61, 0.5)
    assert torch.isfinite(kernel).all() and kernel.shape[-2:] == (61, 61)
    assert float(kernel.sum()) == pytest.approx(1.0, abs=1e-6) and float(kernel.max()) < 1
