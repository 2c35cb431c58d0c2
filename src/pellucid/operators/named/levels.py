"""Names for what changes the levels of a picture."""

from __future__ import annotations

from pellucid.operators.jpeg import JPEG
from pellucid.operators.named.entry import ROUNDING, Entry, Parameter
from pellucid.operators.nonlinear import HDR, Quantise
from pellucid.operators.values import NUMBER, WHOLE

ENTRIES = (
    Entry(
        "jpeg",
        JPEG,
        "JPEG compression",
        "jpeg:quality=20",
        (Parameter("quality", WHOLE, 60, "1 to 100"), ROUNDING),
    ),
    Entry(
        "hdr",
        HDR,
        "contrast that is clipped",
        "hdr:scale=2",
        (
            Parameter("scale", NUMBER, 2.0, "of the contrast"),
            Parameter("pivot", NUMBER, 0.5, "the level that stays; 0 clips the highlights only"),
        ),
    ),
    Entry(
        "quantise",
        Quantise,
        "few levels",
        "quantise:bits=3",
        (Parameter("bits", WHOLE, 3, "a channel"), ROUNDING),
    ),
)
