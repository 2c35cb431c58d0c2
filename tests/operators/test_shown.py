"""What a supervised network is shown of a measurement."""

from __future__ import annotations

import pytest
import torch

from pellucid.errors import NeedsCapability
from pellucid.operators import ParallelBeam, Transmission
from pellucid.operators.shown import network_input, upscaling
from pellucid.operators.text import parse

SHAPE = (1, 32, 32)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("text", "times"), [("gaussian-blur:std=1", 1), ("bicubic:factor=4", 4)])
def test_a_picture_is_shown_as_it_is(text: str, times: int, x: torch.Tensor) -> None:
    operator = parse(text).build(SHAPE)
    y = operator(x)
    assert upscaling(operator) == times and network_input(y, operator) is y


def test_what_is_no_picture_is_shown_by_its_pseudo_inverse(x: torch.Tensor) -> None:
    operator = parse("walsh-hadamard:fraction=0.25").build(SHAPE)
    y = operator(x)
    assert upscaling(operator) is None and torch.equal(network_input(y, operator), operator.pinv(y))


@pytest.mark.parametrize("unit", ["pixel", "width"])
def test_a_sinogram_is_shown_back_projected(unit: str, x: torch.Tensor) -> None:
    operator = ParallelBeam(SHAPE, 9, unit=unit)
    y = operator(x)
    assert upscaling(operator) is None and torch.equal(network_input(y, operator), operator.fbp(y))
    other = ParallelBeam(SHAPE, 9)
    torch.testing.assert_close(network_input(y, operator), other.fbp(other(x)))


def test_a_sinogram_of_the_pictures_shape_is_no_picture(x: torch.Tensor) -> None:
    operator = ParallelBeam(SHAPE, 32, detectors=32)
    assert operator.measurement_shape == operator.image_shape and upscaling(operator) is None
    y = operator(x)
    assert torch.equal(network_input(y, operator), operator.fbp(y))


def test_photons_have_no_picture_to_show(x: torch.Tensor) -> None:
    operator = Transmission(ParallelBeam(SHAPE, 9))
    with pytest.raises(NeedsCapability, match="is no picture"):
        network_input(operator(x), operator)
