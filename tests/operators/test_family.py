"""Families t -> A_t."""

from __future__ import annotations

import pytest
import torch

from pellucid.errors import OperatorError
from pellucid.operators import BlurFamily, Family, GaussianBlur, MaskFamily, RandomMaskFamily

SHAPE = (3, 16, 16)
FAMILIES: dict[str, Family] = {
    "blur": BlurFamily(SHAPE),
    "blur of Flash's code": BlurFamily(SHAPE, (0.3, 3.0)),
    "blur of Dirac": BlurFamily.dirac(SHAPE),
    "mask": MaskFamily(SHAPE),
    "random mask": RandomMaskFamily(SHAPE),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_it_starts_at_the_identity_or_as_near_as_it_says(name: str) -> None:
    family = FAMILIES[name]
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(8, *SHAPE, generator=generator, dtype=torch.float64).round()
    change = float((family.at(0.0)(x) - x).abs().max())
    assert 0.3 * family.distance <= change <= family.distance + 1e-15
    assert family.distance < 0.016


@pytest.mark.parametrize("name", FAMILIES)
def test_a_time_per_image_is_each_image_at_its_time(name: str) -> None:
    family = FAMILIES[name]
    x, times = torch.rand(4, *SHAPE, dtype=torch.float64), torch.tensor([0.0, 0.1, 0.6, 1.0])
    a = family.at(times)
    assert a.batch == 4
    for i, t in enumerate(times.tolist()):
        torch.testing.assert_close(a(x)[i], family.at(t)(x[i : i + 1])[0], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(family.at(times[i])(x), family.at(t)(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_more_is_lost_as_time_goes_on(name: str) -> None:
    family = FAMILIES[name]
    x = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    lost = [float((family.at(t)(x) - x).norm()) for t in (0.0, 0.2, 0.5, 1.0)]
    assert lost == sorted(lost) and lost[-1] > 1.1 * lost[1]


@pytest.mark.parametrize("t", [-0.1, 1.1, float("nan")])
def test_times_outside_are_refused(t: float) -> None:
    with pytest.raises(OperatorError, match="t must be between 0 and 1"):
        BlurFamily(SHAPE).at(t)


def test_the_papers_width_is_linear_with_an_identity_below() -> None:
    family = BlurFamily(SHAPE)
    t = torch.tensor([0.0, 0.09, 0.11, 0.5, 1.0], dtype=torch.float64)
    torch.testing.assert_close(family.std(t), torch.tensor([0.0, 0.0, 0.33, 1.5, 3.0], dtype=torch.float64))
    x = torch.rand(1, *SHAPE, dtype=torch.float64)
    torch.testing.assert_close(family.at(0.5)(x), GaussianBlur(SHAPE, 1.5, truncate=6.0)(x))


@pytest.mark.parametrize("stds", [(1.0,), (2.0, 1.0), (-1.0, 1.0)])
def test_widths_that_fall_are_refused(stds: tuple[float, ...]) -> None:
    with pytest.raises(OperatorError):
        BlurFamily(SHAPE, stds)
