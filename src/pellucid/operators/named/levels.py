"""Names for what changes the levels of a picture."""

from __future__ import annotations

from pellucid.operators.jpeg import JPEG
from pellucid.operators.named.entry import ROUNDING, Entry, Parameter
from pellucid.operators.nonlinear import HDR, Quantise
from pellucid.operators.tone import ContrastLoss, exposure
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
        "contrast",
        ContrastLoss,
        "contrast that fades towards grey: haze, a flat scan",
        "contrast:keep=0.3",
        (
            Parameter("keep", NUMBER, 0.3, "share of the contrast that is left, 0 to 1"),
            Parameter("grey", NUMBER, 0.5, "the level that everything fades to"),
        ),
    ),
    Entry(
        "exposure",
        exposure,
        "more or less light",
        "exposure:gain=0.25",
        (Parameter("gain", NUMBER, 0.25, "what every pixel is multiplied by; below 1 is darker"),),
    ),
    Entry(
        "quantise",
        Quantise,
        "few levels",
        "quantise:bits=3",
        (Parameter("bits", WHOLE, 3, "a channel"), ROUNDING),
    ),
)
