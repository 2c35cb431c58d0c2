"""The classical reconstructions of tomography, without a prior."""

from __future__ import annotations

from pellucid.grid import Nowhere
from pellucid.method import Method
from pellucid.start.fbp import Fbp, LeastSquares
from pellucid.transition import DDIM


def fbp(filter: str = "ramp") -> Method:
    """Filtered back-projection: every view of a sinogram, filtered, spread back over the picture; no prior.

    Reference: Kak and Slaney, Principles of Computerized Tomographic Imaging, 1988, chapter 3; the baseline "FBP" of
    Table 3 of ReSample, ICLR 2024.

    Exact in the limit of many views around the picture and fine detectors; few views leave streaks, a limited angle
    loses edges. A fan beam must run around the picture once.

    Args:
        filter: ramp, the sharpest; shepp-logan, cosine, hamming, hann: smoother, in this order, for noise; none:
            blurred back-projection.
    """
    return Method(Nowhere(), DDIM(), start=Fbp(filter), name="fbp")


def cgls(iterations: int = 10) -> Method:
    """CGLS stopped early: least squares by conjugate gradients, the number of iterations its regularisation; no prior.

    Reference: Hestenes and Stiefel, Methods of Conjugate Gradients for Solving Linear Systems, 1952, section 10; as a
    regularisation Björck, Numerical Methods for Least Squares Problems, 1996, section 7.6.

    x_k minimises |y - A x| over the span of (A^T A)^j A^T y, j < k: directions of large singular values come first,
    noise later. It starts from a black picture. Many iterations end at `pinv`.

    Args:
        iterations: fewer are smoother; more are needed where there is less noise.
    """
    return Method(Nowhere(), DDIM(), start=LeastSquares(iterations), name="cgls")
