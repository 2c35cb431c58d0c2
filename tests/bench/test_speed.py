"""Seconds of one call of a network."""

from __future__ import annotations

import pytest
import torch

from pellucid.bench.speed import best, speed
from pellucid.errors import UnknownNameError


def test_calls_are_timed_and_the_first_one_does_not_count() -> None:
    calls: list[int] = []

    def call() -> torch.Tensor:
        calls.append(1)
        return torch.zeros(1)

    assert best(call, 3) >= 0 and len(calls) == 4


def test_a_prior_is_timed_with_and_without_its_gradient() -> None:
    try:
        measured = speed("photo", size=32, repeats=2)
    except UnknownNameError:
        pytest.skip("the photograph prior is not in this checkout")
    assert set(measured) == {"call", "call with gradient"} and all(0 < value < 60 for value in measured.values())
