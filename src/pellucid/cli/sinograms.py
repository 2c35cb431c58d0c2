"""Which operators measure what is no picture, though it has three axes like one."""

from __future__ import annotations

from pellucid.operators.text import Spec

SINOGRAMS = {"tomography", "fan-beam"}


def gives_pictures(spec: Spec) -> bool:
    """Whether measurements with three axes are pictures: no part of the operator is a scanner."""
    return spec.name not in SINOGRAMS and all(map(gives_pictures, spec.parts))
