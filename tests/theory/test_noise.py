"""Noise is a function of (seed, step, purpose) and of nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pellucid.errors import ProblemError
from pellucid.noise import RecordedNoise, SeededNoise


def like(batch: int) -> Tensor:
    return torch.empty(batch, 3, 32, 32, dtype=torch.float64)


def test_an_image_gets_the_same_noise_in_any_batch() -> None:
    batch = SeededNoise([5, 0, 9]).normal(like(3), 4, "step")
    assert torch.equal(batch[1:2], SeededNoise([0]).normal(like(1), 4, "step"))
    assert torch.equal(batch[[2, 0]], SeededNoise([5, 0, 9]).select(torch.tensor([2, 0])).normal(like(2), 4, "step"))


def test_keys_do_not_share_noise() -> None:
    noise = SeededNoise([0, 1])
    draws = [noise.normal(like(2), step, purpose) for step in (0, 1) for purpose in ("start", "step", "climb")]
    flat = torch.cat(draws).flatten(1)
    correlation = torch.corrcoef(flat) - torch.eye(len(flat), dtype=torch.float64)
    assert float(correlation.abs().max()) < 0.1  # 5 / sqrt(3072)


def test_order_of_draws_does_not_matter() -> None:
    noise = SeededNoise([3])
    first = noise.normal(like(1), 7, "step")
    noise.normal(like(1), 2, "climb")
    assert torch.equal(first, noise.normal(like(1), 7, "step"))


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    SeededNoise([0]).normal(like(1), 0, "step")
    assert torch.equal(before, torch.get_rng_state())


def test_standard_normal() -> None:
    draws = SeededNoise(range(200)).normal(like(200), 0, "step").flatten()
    n = len(draws)
    assert abs(float(draws.mean())) < 5 / n**0.5
    assert abs(float(draws.var()) - 1) < 5 * (2 / n) ** 0.5
    assert abs(float((draws**4).mean()) - 3) < 5 * (96 / n) ** 0.5


def test_one_int_counts_up_and_zero_is_a_seed() -> None:
    assert SeededNoise.of(0, 3).seeds == [0, 1, 2]
    assert SeededNoise.of([0, 0], 2).seeds == [0, 0]
    assert not torch.equal(SeededNoise([0]).normal(like(1), 0, "a"), SeededNoise([1]).normal(like(1), 0, "a"))


def test_a_seed_for_every_image() -> None:
    with pytest.raises(ProblemError, match="3 images need 3 seeds, not 2"):
        SeededNoise.of([1, 2], 3)


def test_recorded_noise_is_played_back_and_nothing_else() -> None:
    z = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    recorded = RecordedNoise({(0, "step"): z})
    assert torch.equal(recorded.normal(like(2), 0, "step"), z.double())
    assert torch.equal(recorded.select(torch.tensor([1])).normal(like(1), 0, "step"), z[1:].double())
    with pytest.raises(KeyError):
        recorded.normal(like(2), 1, "step")
