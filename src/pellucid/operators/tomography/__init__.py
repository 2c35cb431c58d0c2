"""Computed tomography: line integrals through a picture, and filtered back-projection."""

from pellucid.operators.tomography.filters import FILTERS
from pellucid.operators.tomography.operator import FanBeam, ParallelBeam, Tomograph

__all__ = ["FILTERS", "FanBeam", "ParallelBeam", "Tomograph"]
