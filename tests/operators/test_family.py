"""Families t -> A_t."""

from __future__ import annotations

import pickle
import threading
import time
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor

from pellucid.errors import CompatibilityError, ConfigError, OperatorError, PellucidError
from pellucid.operators import (
    BlurFamily,
    Family,
    GaussianBlur,
    Identity,
    Mask,
    MaskFamily,
    Operator,
    PixelationFamily,
    RandomMaskFamily,
    ViewFamily,
    family,
)
from pellucid.operators.families.base import KEPT

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


class Slow(OrderedDict[Any, Any]):
    """Lets other threads in after every insertion."""

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        time.sleep(0.002)


class Meeting(Family):
    """Makes its operators when all threads have asked for theirs, so that all of them are inserted at once."""

    def __init__(self, threads: int) -> None:
        super().__init__(SHAPE)
        self.meeting = threading.Barrier(threads, timeout=20)
        self._made = Slow()

    def _at(self, t: Tensor) -> Operator:
        self.meeting.wait()
        return Identity(self.image_shape)


def test_threads_may_share_a_family() -> None:
    threads, errors = 16, []
    own = Meeting(threads)

    def ask(place: int) -> None:
        for round_ in range(5):
            try:
                assert isinstance(own.at((place + round_ * threads) / 1000), Identity)
            except Exception as error:
                errors.append(repr(error))
                own.meeting.abort()
                return

    workers = [threading.Thread(target=ask, args=(place,)) for place in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert not errors and len(own._made) == KEPT


@pytest.mark.parametrize("name", FAMILIES)
def test_families_are_pickled_without_what_they_made(name: str) -> None:
    own = FAMILIES[name]
    a = own.at(0.4)
    again = pickle.loads(pickle.dumps(own))
    assert not again._made and own._made
    x = torch.rand(1, *SHAPE, dtype=torch.float64)
    assert torch.equal(again.at(0.4)(x), a(x)) and again.at(0.4) is again.at(0.4)


@pytest.mark.parametrize("most", [0.8, 1.0, 0.1])
@pytest.mark.parametrize("seed", [0, 5])
def test_a_mask_has_the_last_of_its_times(most: float, seed: int) -> None:
    own = RandomMaskFamily(SHAPE, most, seed=seed)
    assert own.time_of(own.at(1.0)) == 1
    times = torch.linspace(0.3, 1, 200, dtype=torch.float64)
    masks = own.at(times)
    found = own.time_of(masks)
    assert found is not None and bool((found >= times - 1e-12).all()) and bool((found <= 1).all())
    assert torch.equal(own.at(found).get_buffer("weights"), masks.get_buffer("weights"))
    before = found[found < 1]
    later = own.at(before + 1e-9).get_buffer("weights")
    assert bool((later != own.at(before).get_buffer("weights")).flatten(1).any(1).all())
    assert own.time_of(own.at(0.0)) == own.time_of(Identity(SHAPE)) == 0
    everything = own.time_of(Mask(SHAPE, torch.zeros(SHAPE[1:])))
    assert everything == (1 if most == 1 else float("inf"))


@pytest.mark.parametrize("name", ["blur", "hole"])
@pytest.mark.parametrize(
    "points",
    [
        [],
        [1.0],
        [1.0, 0.5],
        [2.0, 2.0],
        [0.3, float("nan")],
        [0.3, float("inf")],
        [0.3, 10**400],
        [-1.0, 1.0],
        [0.1 * k for k in range(10_001)],
        [True, 2],
        ["1", "2"],
        [[1, 2]],
        "123",
        {"1": 2},
        5,
    ],
)
def test_points_that_are_no_schedule_are_refused(name: str, points: Any) -> None:
    with pytest.raises(ConfigError, match=f"the schedule of {name}"):
        family(name, schedule=points)


def test_points_of_a_card_are_the_schedule() -> None:
    own = family("blur", schedule=[1, 1.5, 4])((3, 16, 16))
    assert isinstance(own, BlurFamily) and own.stds.tolist() == [1.0, 1.5, 4.0]
    hole = family("hole:widest=4,narrowest=1", schedule=(0.5, 1.5, 2.0))((3, 16, 16))
    assert isinstance(hole, MaskFamily) and hole.stds.tolist() == [1.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hole:power=nan", "power"),
        ("hole:power=inf", "power"),
        ("hole:power=0", "power"),
        ("hole:power=wide", "power"),
        ("hole:widest=inf", "widest"),
        ("hole:widest=nan", "widest"),
        ("hole:widest=1" + 400 * "0", "widest"),
        ("hole:narrowest=nan", "narrowest"),
        ("blur:widest=inf", "widest"),
        ("blur:widest=nan", "widest"),
        ("blur:widest=1" + 5000 * "0", "widest"),
        ("blur:widest=0.2", "widest"),
        ("blur:narrowest=nan", "narrowest"),
        ("blur:narrowest=-1", "narrowest"),
        ("blur:narrowest=true", "narrowest"),
        (f"views:most={2**50}", "most"),
        ("views:most=128.0", "most"),
        ("views:least=2.5", "least"),
        ("views:least=many", "least"),
        ("views:least=4097", "least"),
        ("views:least=1", "least"),
        ("pixelation:levels=2.5", "levels"),
        ("pixelation:levels=true", "levels"),
        ("pixelation:levels=13", "levels"),
        ("pixelation:levels=none", "levels"),
        ("missing-pixels:seed=1.5", "seed"),
        (f"missing-pixels:seed={2**70}", "seed"),
        ("missing-pixels:most=nan", "most"),
        ("jpeg:worst=nan", "worst"),
        ("contrast:least=nan", "least"),
        ("exposure:least=nan", "least"),
    ],
)
def test_values_that_a_family_cannot_take_are_refused_by_name(text: str, name: str) -> None:
    with pytest.raises(PellucidError, match=name) as caught:
        family(text)
    assert len(str(caught.value)) < 300


def test_the_bounds_themselves_are_taken() -> None:
    assert isinstance(family("views:least=2,most=4096")(SHAPE), ViewFamily)
    assert isinstance(family("pixelation:levels=12")(SHAPE), PixelationFamily)
    with pytest.raises(CompatibilityError, match="most must be a whole number from 2 to 4096"):
        family("views:least=2,most=8192")
