"""The pseudo-inverse alone."""

from __future__ import annotations

from pellucid.grid import Nowhere
from pellucid.method import Method
from pellucid.start.initial import PseudoInverse
from pellucid.transition import DDIM


def pinv() -> Method:
    """A^+ y: the least-squares solution of least norm, no prior at all.

    Reference: Moore 1920, Penrose 1955; the baseline "A^+ y" of the DDNM and SSD tables.

    Singular values below the operator's rcond are left out; noise in the others is amplified.
    """
    return Method(Nowhere(), DDIM(), start=PseudoInverse(), name="pinv")
