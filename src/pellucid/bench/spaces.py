"""What there is to tune in a method: ranges for a search, and the grids that the papers went through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pellucid.bench.toml import build, is_number, require
from pellucid.errors import ConfigError


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, evenly in their logarithm if `log`; or a few choices.

    Raises:
        ConfigError: low is not below high, `log` needs numbers above 0, or there is neither a range nor a choice.
    """

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if self.choices:
            return
        require(is_number(self.low) and is_number(self.high) and self.low < self.high, "a range has low < high")
        require(not self.log or self.low > 0, "a range in logarithms begins above 0")

    def suggest(self, trial: Any, name: str) -> Any:
        """A value by a trial of optuna's."""
        if self.choices:
            return trial.suggest_categorical(name, list(self.choices))
        return trial.suggest_float(name, self.low, self.high, log=self.log)


Space = Mapping[str, Range]

SPACES: dict[str, Space] = {
    "ssd": {"eta": Range(0, 1), "ddim_eta": Range(0, 1), "t0": Range(0.3, 0.95)},
    "ssd+": {"eta": Range(0, 1), "ddim_eta": Range(0, 1), "t0": Range(0.3, 0.95)},
    "ddnm": {"eta": Range(0, 1)},
    "ddnm+": {"eta": Range(0, 1)},
    "ddrm": {"eta": Range(0, 1), "eta_b": Range(0.1, 1)},
    "dps": {"scale": Range(0.05, 5, log=True)},
    "pigdm": {"eta": Range(0, 1), "data_std": Range(0.1, 1, log=True)},
    "dmps": {"scale": Range(0.2, 5, log=True)},
    "diffpir": {"lam": Range(0.1, 20, log=True), "zeta": Range(0, 1)},
    "mcg": {"scale": Range(0.05, 5, log=True)},
    "repaint": {"travel_length": Range(choices=(1, 5, 10)), "travel_repeat": Range(choices=(1, 5, 10))},
    "ccdf": {"fraction": Range(0.05, 0.9)},
    "ccdf-dps": {"fraction": Range(0.05, 0.9), "scale": Range(0.05, 5, log=True)},
    "pnp-admm": {"sigma_d": Range(0.01, 0.5, log=True), "sigma_first": Range(0.1, 1, log=True)},
    "admm-tv": {"lam": Range(1e-3, 0.3, log=True), "rho": Range(0.1, 30, log=True)},
    "unconditional": {"eta": Range(0, 1)},
}
"""Ranges by method."""

GRIDS: dict[str, Space] = {
    "ssd": {"eta": Range(choices=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0)), "t0": Range(choices=(0.55, 0.75))},
    "ssd+": {"t_stop": Range(choices=(0.1, 0.2, 0.3, 0.4)), "eta": Range(choices=(0.4, 0.8))},
    "dps": {"scale": Range(choices=(0.3, 0.4, 0.5, 0.6, 1.0))},
    "dmps": {"scale": Range(choices=(1.0, 1.75, 2.5))},
    "diffpir": {"lam": Range(choices=(1.0, 7.0, 12.0)), "zeta": Range(choices=(0.1, 0.3, 0.6, 1.0))},
    "admm-tv": {"lam": Range(choices=(0.01, 0.02, 0.027, 0.05)), "rho": Range(choices=(0.3, 1.0, 3.0))},
}
"""Values that the papers and their codes use for one task or another, by method."""


def space(method: str, given: Mapping[str, Any], *, grid: bool) -> dict[str, Range]:
    """What to tune: as the plan's [space] says, else what is known of the method.

    Args:
        method: its name.
        given: [space]: `scale = { low = 0.1, high = 10, log = true }`, or a list of choices.
        grid: the papers' values instead of ranges.

    Raises:
        ConfigError: nothing is known of the method, or an entry of [space] is neither a range nor a list; or a grid is
            asked for, and an entry is a range.
    """
    found = {name: _read(name, value) for name, value in given.items()} or dict(
        (GRIDS if grid else SPACES).get(method, {})
    )
    if not found:
        what = "no grid" if grid else "nothing to tune"
        raise ConfigError(f"{what} is known for {method}; say it in the plan: [space] eta = {{ low = 0, high = 1 }}")
    if grid and (ranges := [name for name, r in found.items() if not r.choices]):
        raise ConfigError(f"a grid needs choices, and {ranges[0]} is a range")
    return found


def _read(name: str, value: Any) -> Range:
    if isinstance(value, list):
        require(bool(value), f"[space] {name}: the list is empty")
        return Range(choices=tuple(value))
    return build(Range, value, f"[space] {name}")
