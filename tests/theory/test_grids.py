"""Grids: the exact lists that the papers' codes visit."""

from __future__ import annotations

import pytest
import torch

from pellucid.errors import CompatibilityError
from pellucid.grid import Grid, Inclusive, Leading, Nowhere, TimeTravel, Uniform
from pellucid.process import VE, DiscreteVP, Flow
from tests.golden.data import load
from tests.reference.repaint import schedule
from tests.reference.ssd import steps

VP = DiscreteVP.linear()


def timesteps(grid: Grid, start: float | None = None) -> list[int]:
    """What the grid visits, as 0-based timesteps; -1 is clean."""
    t = torch.full((1,), grid.top(VP) if start is None else start, dtype=torch.float64)
    times = grid.times(VP, t)[:, 0]
    assert torch.equal(times, times.round())
    return [int(time) - 1 for time in times]


SSD = {
    (550, 15): [0, 39, 78, 118, 157, 196, 235, 274, 314, 353, 392, 431, 471, 510, 549],
    (550, 5): [0, 137, 274, 412, 549],
    (750, 5): [0, 187, 374, 562, 749],
}


@pytest.mark.parametrize(("start", "points"), SSD)
def test_inclusive_is_ssds_lists(start: int, points: int) -> None:
    wanted = SSD[start, points]
    assert timesteps(Inclusive(points), start) == [*reversed(wanted), -1]
    assert steps(start, points) == wanted


@pytest.mark.parametrize("start", [550, 750, 1000])
@pytest.mark.parametrize("points", [5, 15, 25, 50, 85, 100, 250])
def test_inclusive_rounds_halves_as_the_codes_do(start: int, points: int) -> None:
    assert timesteps(Inclusive(points), start) == [*reversed(steps(start, points)), -1]


def test_inclusive_is_the_respacing_of_the_traces() -> None:
    arrays = load("trace_ssd_sr4")
    assert timesteps(Inclusive(6), 550)[-2::-1] == arrays["fwd_map"].tolist()
    assert timesteps(Inclusive(9), 550)[-2::-1] == arrays["bwd_map"].tolist()
    assert timesteps(Inclusive(10))[-2::-1] == load("trace_dps_ddpm_gblur")["timestep_map"].tolist()


def test_leading_is_ddrms_list() -> None:
    assert timesteps(Leading(20)) == [*range(950, -1, -50), -1]


def test_leading_below_its_top_starts_where_it_is_told() -> None:
    visited = timesteps(Leading(20), 421)
    assert list(dict.fromkeys(visited)) == [420, *range(400, -1, -50), -1]
    assert len(visited) == 21  # so that a step has the same index, and the same noise, whoever else is in the batch


def test_uniform_starts_at_the_noisiest() -> None:
    assert timesteps(Uniform(4)) == [999, 749, 499, 249, -1]


def test_time_travel_is_ddnms() -> None:
    visited = [i // 100 if i >= 0 else -1 for i in timesteps(TimeTravel(Leading(10), 2, 2))]
    assert visited == load("trace_ddnm_sr4")["times"].tolist()


@pytest.mark.parametrize(("n", "length", "repeat"), [(10, 1, 1), (10, 2, 2), (12, 3, 4), (250, 10, 10)])
def test_time_travel_is_repaints(n: int, length: int, repeat: int) -> None:
    plain = timesteps(Uniform(n))
    wanted = [plain[n - 1 - i] if i >= 0 else -1 for i in schedule(n, length, repeat)]
    assert timesteps(TimeTravel(Uniform(n), length, repeat)) == wanted


@pytest.mark.parametrize("process", [VP, DiscreteVP.cosine(), VE(), Flow()])
@pytest.mark.parametrize(
    "grid", [Uniform(7), Uniform(7, power=2.0), Inclusive(7), Leading(7), TimeTravel(Uniform(7), 2, 2)]
)
def test_every_image_goes_from_its_own_start_to_zero(process: VE, grid: Grid) -> None:
    if not process.discrete and isinstance(grid, Inclusive | Leading):
        with pytest.raises(CompatibilityError, match="Uniform"):
            grid.times(process, torch.ones(1, dtype=torch.float64))
        return
    start = process.on_grid(process.at_pace(torch.tensor([1.0, 0.5, 0.2], dtype=torch.float64)))
    times = grid.times(process, start)
    assert torch.equal(times[0], start)
    assert torch.equal(times[-1], torch.zeros(3, dtype=torch.float64))
    assert (times >= 0).all() and (times <= start).all()
    for image in range(3):
        assert torch.allclose(grid.times(process, start[image : image + 1])[:, 0], times[:, image])


def test_nowhere_stays() -> None:
    assert timesteps(Nowhere(), 8) == [7]


@pytest.mark.parametrize("grid", [Uniform, Inclusive, Leading])
def test_a_grid_needs_a_step(grid: type[Uniform]) -> None:
    with pytest.raises(CompatibilityError, match="at least 1"):
        grid(0)
