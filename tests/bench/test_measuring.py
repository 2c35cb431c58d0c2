"""The measurement is a function of the picture and the plan's seed, and of nothing else."""

from __future__ import annotations

import pytest
import torch

from pellucid.bench.measuring import Level, frozen
from pellucid.bench.plan import Noise, Task
from pellucid.operators import JPEG, parse

SHAPE = (3, 16, 16)
X = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0))


def level(operator: str, noise: float = 0.0, high: float | None = None, seed: int = 0, **task: object) -> Level:
    return Level(Task("t", operator, **task), Noise(noise, noise if high is None else high), seed)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["mask:random=0.5", "compose:[gaussian-blur:std=1],[mask:random=0.5]", "motion-blur"])
def test_what_is_drawn_differs_by_picture_unless_the_text_has_a_seed(text: str) -> None:
    spec = parse(text)
    a, again, b, other = (str(frozen(spec, *key)) for key in ((0, "a"), (0, "a"), (0, "b"), (1, "a")))
    assert a == again and len({a, b, other}) == 3 and parse(a) == frozen(spec, 0, "a")


@pytest.mark.parametrize("text", ["mask:random=0.5,seed=7", "mask:box=4", "bicubic:factor=4", "motion-blur:seed=1"])
def test_what_is_fixed_stays(text: str) -> None:
    assert frozen(parse(text), 0, "a") == parse(text)


def test_noise_belongs_to_the_picture_not_to_its_place_in_the_batch() -> None:
    identity = parse("identity").build(SHAPE)
    noisy = level("identity", 0.1)
    y = noisy.measure(X, identity, ["a", "b"])
    assert torch.equal(y[1:], noisy.measure(X[1:], identity, ["b"]))
    assert abs(float((y - X).std()) - 0.1) < 0.01
    assert not torch.equal(y, level("identity", 0.1, seed=1).measure(X, identity, ["a", "b"]))


def test_a_level_drawn_for_each_picture_lies_in_its_range_and_is_told() -> None:
    drawn = level("identity", 0.1, 0.3)
    stds = [drawn.std(name) for name in "abcdefgh"]
    assert len(set(stds)) == 8 and all(0.1 <= s <= 0.3 for s in stds) and max(stds) - min(stds) > 0.05
    assert drawn.told("a") == drawn.std("a")
    assert level("identity", 0.1, noise_told=0.2).told("a") == 0.2


def test_compression_comes_last_and_is_not_told() -> None:
    identity = parse("identity").build(SHAPE)
    y = level("identity", jpeg=30).measure(X, identity, ["a", "b"])
    torch.testing.assert_close(y, JPEG(SHAPE, 30)(X))
    assert level("identity", jpeg=30).operators("a") == ("identity", "identity")


def test_a_mismatch_is_told_and_shares_what_is_drawn() -> None:
    true, told = level("mask:random=0.5", mismatch="mask:random=0.6").operators("a")
    assert true != told and true.rpartition("seed=")[2] == told.rpartition("seed=")[2]
