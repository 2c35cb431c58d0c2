"""The trainer's configuration: TOML keys mirror these fields one to one, an unknown key is an error."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pellucid.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class ShipConfig:
    """Where a trained prior goes, and what its card says beside the figures.

    Args:
        to: the folder of the shipped prior.
        summary: one line.
        data: what it was trained on.
        sources: a SOURCES.tsv whose licences the card counts; it lies beside the folder of training pictures.
        evaluate: a folder of held-out pictures; the card gets the denoising PSNR on their 256x256 centre crops.
        notes: further keys of the card.
    """

    to: Path
    summary: str
    data: str
    sources: Path
    evaluate: Path
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PriorConfig:
    """One training run of a pixel prior.

    Args:
        data: folder of training pictures.
        out: folder of checkpoints, samples and the log.
        steps: optimiser steps; the learning rate rises over `warmup` steps and then falls linearly to zero.
        pixels: pixels in one step's crops, over the whole batch: a crop of side s comes in batches of pixels / s^2.
        crops: crop sides, each step takes one of them.
        crop_odds: their probabilities.
        lr, warmup, clip: Adam's peak rate, warm-up steps, gradient norm limit.
        ema: the exponential moving average's memory as a share of the steps so far (Karras' power-law average).
        sigma_mean, sigma_std: ln sigma ~ N(mean, std^2), in units of the range [-1, 1], with odds 1 - sigma_wide.
        sigma_wide: odds of ln sigma ~ U(ln 0.01, ln 160) instead.
        seed: of the weights, the crops and the noise.
        checkpoint_every, sample_every: steps between checkpoints, and between sample grids (0: none).
        precision: "bf16" or "no".
        threads: CPU threads of this process (0: torch's default).
        network: keyword arguments of `pellucid.nn.unet.UNet`.
        ship: what `pellucid train ship` needs to know.
    """

    data: Path
    out: Path
    steps: int = 20000
    pixels: int = 65536
    crops: tuple[int, ...] = (64, 96, 128, 192)
    crop_odds: tuple[float, ...] = (0.55, 0.2, 0.2, 0.05)
    lr: float = 8e-4
    warmup: int = 500
    clip: float = 1.0
    ema: float = 0.05
    sigma_mean: float = -1.2
    sigma_std: float = 1.2
    sigma_wide: float = 0.25
    seed: int = 0
    checkpoint_every: int = 1000
    sample_every: int = 2000
    precision: str = "bf16"
    threads: int = 0
    network: dict[str, Any] = field(default_factory=dict)
    ship: ShipConfig | None = None

    def __post_init__(self) -> None:
        if len(self.crops) != len(self.crop_odds):
            raise ConfigError("crops and crop_odds must have the same length")
        if self.steps < 1 or self.pixels < max(self.crops) ** 2:
            raise ConfigError("steps must be at least 1, and pixels at least the square of the largest crop")
        if self.precision not in ("bf16", "no"):
            raise ConfigError(f"precision must be 'bf16' or 'no', not {self.precision!r}")

    @classmethod
    def load(cls, path: Path) -> PriorConfig:
        """Reads a TOML file; relative folders are taken from the working directory.

        Raises:
            ConfigError: the file is missing or is no TOML, or a key is unknown or missing.
        """
        try:
            raw = tomllib.loads(path.read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"cannot read {path}: {error}") from error
        if "ship" in raw:
            raw["ship"] = _build(ShipConfig, raw["ship"], f"{path} [ship]")
        return _build(cls, raw, str(path))


def _build(kind: type[T], raw: dict[str, Any], where: str) -> T:
    """The dataclass from TOML values: strings become paths and lists tuples where the field says so."""
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(raw) - set(fields)):
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(sorted(fields))}")
    bare = (
        f.name for f in fields.values() if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    )
    if missing := sorted(set(bare) - set(raw)):
        raise ConfigError(f"{where}: the key {missing[0]!r} is missing")
    return kind(**{key: _value(fields[key].type, value) for key, value in raw.items()})


def _value(kind: object, value: Any) -> Any:
    if kind == "Path":
        return Path(value)
    return tuple(value) if isinstance(value, list) else value
