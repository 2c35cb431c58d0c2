"""All methods on the five standard problems."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pellucid.errors import NeedsCapability
from pellucid.methods import METHODS, Preset
from pellucid.operators.text import parse
from pellucid.prior.gaussian import GaussianPrior
from pellucid.verify.report import Case, Verdict
from pellucid.verify.severity import built

PROBLEMS: dict[str, Callable[[int], str]] = {
    "denoise": lambda size: "identity",
    "box mask": lambda size: f"mask:box={size // 2}",
    "random 70 %": lambda size: "mask:random=0.7,seed=1",
    "Gaussian blur": lambda size: "gaussian-blur:std=1.5",
    "bicubic x4": lambda size: "bicubic:factor=4",
}
LEFT_OUT = {"unconditional"}  # ignores the measurement
NOISY = 0.05


@dataclass(frozen=True)
class Entry:
    """One line of the suite: a verdict, or why there is none."""

    problem: str
    preset: Preset
    noise: float
    verdict: Verdict | None
    refusal: str = ""


def suite(size: int = 64, samples: int = 16) -> Iterator[Entry]:
    """Every method on every problem at noise 0.05; methods made for noiseless measurements at 0 as well."""
    prior = GaussianPrior.natural(size)
    for problem, text in PROBLEMS.items():
        operator = parse(text(size)).build((3, size, size))
        for noise in (NOISY, 0.0):
            if noise == 0 and problem == "denoise":
                continue  # y is the truth
            case = Case.make(prior, operator, noise, samples)
            for preset in METHODS.values():
                if preset.name in LEFT_OUT or (noise == 0 and preset.models_noise):
                    continue
                yield _entry(case, problem, preset, noise)


def _entry(case: Case, problem: str, preset: Preset, noise: float) -> Entry:
    try:
        result = case.run(built(preset))
    except NeedsCapability as refusal:
        return Entry(problem, preset, noise, None, str(refusal))
    return Entry(problem, preset, noise, case.judge(result, preset.name, problem))
