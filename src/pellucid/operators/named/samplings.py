"""Names for what measures fewer numbers than the picture has: resolution, colour, coefficients."""

from __future__ import annotations

from pellucid.errors import OperatorError
from pellucid.operators.color import WEIGHTINGS, Grey
from pellucid.operators.hadamard import WalshHadamard
from pellucid.operators.named.entry import RCOND, SEED, Entry, Parameter, Values, cannot_tell
from pellucid.operators.nonlinear import PhaseRetrieval
from pellucid.operators.pixelation import Pixelation
from pellucid.operators.resize import Bicubic, BlockAverage
from pellucid.operators.values import NUMBER, WHOLE, words
from pellucid.typing import Shape


def _larger(shape: Shape, values: Values) -> Shape:
    c, h, w = shape
    factor = values["factor"]
    assert isinstance(factor, int)
    if factor < 1:
        raise OperatorError(f"a factor is a whole number from 1, not {factor}")
    return c, h * factor, w * factor


def _coloured(shape: Shape, values: Values) -> Shape:
    return 3, shape[1], shape[2]


def _unframed(shape: Shape, values: Values) -> Shape:
    oversample = values["oversample"]
    assert isinstance(oversample, (int, float))
    c, *sizes = shape
    inside = [next((n for n in range(1, m + 1) if n + 2 * int(oversample / 8 * n) == m), 0) for m in sizes]
    if 0 in inside:
        raise OperatorError(f"no picture has a phase-retrieval measurement of shape {shape} at oversample {oversample}")
    return c, inside[0], inside[1]


FACTOR = Parameter("factor", WHOLE, 4, "how many times smaller")

ENTRIES = (
    Entry("bicubic", Bicubic, "low resolution, antialiased bicubic", "bicubic:factor=4", (FACTOR, RCOND), _larger),
    Entry(
        "block-average", BlockAverage, "low resolution, mean of blocks", "block-average:factor=4", (FACTOR,), _larger
    ),
    Entry(
        "pixelation",
        Pixelation.of,
        "coarse square pixels, the picture keeping its size",
        "pixelation:size=8",
        (Parameter("size", WHOLE, 8, "of the blocks, in pixels: a power of 2"),),
    ),
    Entry(
        "grey",
        Grey,
        "colour is lost",
        "grey:weights=luma",
        (Parameter("weights", words(*WEIGHTINGS), "mean", "of red, green and blue"),),
        _coloured,
    ),
    Entry(
        "walsh-hadamard",
        WalshHadamard,
        "compressed sensing by Walsh-Hadamard coefficients",
        "walsh-hadamard:fraction=0.25,seed=0",
        (Parameter("fraction", NUMBER, 0.25, "of the coefficients that is measured"), SEED),
        cannot_tell,
    ),
    Entry(
        "phase-retrieval",
        PhaseRetrieval,
        "magnitudes of the Fourier transform",
        "phase-retrieval:oversample=2",
        (Parameter("oversample", NUMBER, 2.0, "eighths of the size added on each side"),),
        _unframed,
    ),
)
