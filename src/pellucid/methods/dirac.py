"""DiracDiffusion: the degradation itself, run backwards."""

from __future__ import annotations

from typing import Literal

from pellucid.consistency.base import Consistency
from pellucid.consistency.reversal import ReversalGuidance
from pellucid.errors import CompatibilityError, require_range
from pellucid.grid import Below, Uniform
from pellucid.method import Method
from pellucid.start.degraded import Measured
from pellucid.stop import StopBelow
from pellucid.transition import Reversal

JUST_BELOW = 1e-6  # the published code goes on at a time that is the stop's own


def dirac(
    nfe: int = 50,
    stop: float = 0.0,
    output: Literal["x0", "state"] = "x0",
    increments: str = "look-ahead",
    small: float = 0.01,
    eta: float = 0.0,
    scaling: str = "std",
    as_released: bool = False,
) -> Method:
    """Dirac: y is a sample of a degradation process, and a network trained on that process runs it backwards.

    Reference: Fabian, Tinaz and Soltanolkotabi, DiracDiffusion: Denoising and Incremental Reconstruction with Assured
    Data-Consistency, ICML 2024.

    Equations: the update of eq. (7) with the score of eq. (11) and R by `increments` (`Reversal`), from y itself
    (`Measured`); every state is a measurement of the same picture, ever less degraded, so that y is respected all
    along without guidance. `eta` above 0 adds that of eq. (17) and (26) (`ReversalGuidance`). Early stopping is the
    point: near t = 1 the estimate is the mean of what y leaves possible (highest PSNR), near t = 0 a sample (sharpest).

    Differences: guidance descends the data error, as the paper has it; the published code climbs it, and goes on for
    one step at a time that equals the stop (`as_released`). `photo-dirac-inpaint` is shown the mask beside y_t
    (`Degradation.lifted`), which the paper's networks are not. A measurement that is less degraded, or quieter, than
    the path's end enters the path where it belongs.

    Defaults: 50 calls from t = 1 to 0, as the published configurations for deblurring; a prior's own stops for PSNR
    and for perception are `prior.points`, on the command line `--optimise`. The paper's: eta = 0.5, stop = 0.25 for
    deblurring faces.

    Args:
        nfe: steps from t = 1 to 0; those above y's own time are left out.
        stop: the time t at which to end; 1 is one call alone.
        output: "x0", the last estimate, or "state", the last iterate.
        increments: look-ahead, small-look-ahead, look-back, small-look-back, or network.
        small: the step of the two small ones.
        eta: of the guidance; 0 for none, which saves its gradient.
        scaling: of the guidance, std or error.
        as_released: see above.
    """
    require_range("stop", stop, 0, 1)
    if output not in ("x0", "state"):
        raise CompatibilityError(f"output must be x0 or state, not {output!r}")
    guided = ReversalGuidance(eta, scaling, as_released) if eta > 0 else Consistency()
    return Method(
        Below(Uniform(nfe)),
        Reversal(increments, small),
        start=Measured(),
        consistency=guided,
        stop=StopBelow(output=output, time=stop - JUST_BELOW if as_released else stop),
        name="dirac",
    )
