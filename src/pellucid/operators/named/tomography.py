"""Names for tomography."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pellucid.operators.base import LinearOperator
from pellucid.operators.named.entry import Entry, Parameter, cannot_tell
from pellucid.operators.tomography.operator import UNITS, FanBeam, ParallelBeam
from pellucid.operators.tomography.sparse import SparseView
from pellucid.operators.transmission import Transmission
from pellucid.operators.values import NUMBER, WHOLE, WHOLE_OR_AUTO, words
from pellucid.typing import Shape


def build_transmission(
    image_shape: Shape, parts: Sequence[Callable[[Shape], LinearOperator]], density: float
) -> Transmission:
    """exp(-density A x) of the part A, which must be linear."""
    return Transmission(parts[0](image_shape), density)


ANGLES_HELP = "number of views"
START = Parameter("start", NUMBER, 0.0, "angle of the first view, in degrees; 0 sums the columns")
DETECTORS = Parameter("detectors", WHOLE_OR_AUTO, "auto", "cells of the detector; auto sees the whole picture")
UNIT = Parameter("unit", words(*UNITS), "width", "of the line integrals, and so of the noise: picture widths or pixels")

ENTRIES = (
    Entry(
        "tomography",
        ParallelBeam,
        "computed tomography by parallel rays: a sinogram",
        "tomography:angles=25",
        (
            Parameter("angles", WHOLE, 25, ANGLES_HELP),
            Parameter("span", NUMBER, 180.0, "degrees that the views are spread over; below 180 is a limited angle"),
            START,
            DETECTORS,
            Parameter("spacing", NUMBER, 1.0, "of the detector's cells, in pixels"),
            UNIT,
        ),
        cannot_tell,
    ),
    Entry(
        "fan-beam",
        FanBeam,
        "computed tomography by rays from a point: a sinogram",
        "fan-beam:angles=90,source=2",
        (
            Parameter("angles", WHOLE, 90, ANGLES_HELP),
            Parameter("span", NUMBER, 360.0, "degrees that the views are spread over"),
            START,
            Parameter("source", NUMBER, 2.0, "its distance from the picture's centre, in picture widths"),
            Parameter("detector", NUMBER, 1.0, "its distance from the picture's centre, in picture widths"),
            DETECTORS,
            Parameter(
                "spacing", NUMBER, None, "of the cells on the detector, in pixels; one at the centre if not given"
            ),
            UNIT,
        ),
        cannot_tell,
    ),
    Entry(
        "sparse-view",
        SparseView.of,
        "the filtered back-projection of few views: a picture with streaks",
        "sparse-view:views=16",
        (
            Parameter("views", WHOLE, 16, "number of views, evenly spaced over 180 degrees"),
            Parameter("most", WHOLE, 128, "of the full scan that they are taken from; views must divide it"),
        ),
    ),
    Entry(
        "transmission",
        build_transmission,
        "the share of photons that arrives; with Poisson noise of gain 1 / photons, counting statistics",
        "transmission:density=4,[tomography:angles=25]",
        (Parameter("density", NUMBER, 4.0, "attenuation of a white picture per unit of the operator's measurement"),),
        parts=(1, 1),
    ),
)
