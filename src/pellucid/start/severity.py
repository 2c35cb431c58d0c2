"""Flash-Diffusion's start: an estimate, carried to the noise level that it is as wrong as, image by image."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from pellucid.errors import CompatibilityError, require_range
from pellucid.grid import Below, Grid, Uniform
from pellucid.noise import Noise
from pellucid.prior.base import Prior, State
from pellucid.problem import Observation, Problem
from pellucid.process import DiscreteVP, Process
from pellucid.start.base import Start
from pellucid.start.inversion import climbed
from pellucid.transition import Inversion
from pellucid.typing import expand

Rule = Literal["exact", "paper", "released", "inversion"]
RULES = ("exact", "paper", "released", "inversion")


class Encoder(Protocol):
    """What tells the severity: (observation, prior) -> (z_hat in the prior's space, s2 (b,), its error per entry)."""

    def __call__(self, observation: Observation, prior: Prior) -> tuple[Tensor, Tensor]: ...


Chooser = Callable[[Problem, Prior], Encoder]
"""Finds the encoder for a problem and a prior; raises a `PellucidError` where there is none."""


@dataclass(frozen=True)
class Constant:
    """An encoder's z_hat, and for every image alike the s2 = sigma_t^2 / alpha_t^2 of one time: a fixed start.

    What a predicted severity is worth is what it is ahead of this, all else being the same.

    Args:
        encoder: tells z_hat.
        share: t as a share of the process's pace.

    Raises:
        CompatibilityError: the share is outside [0, 1].
    """

    encoder: Encoder
    share: float

    def __post_init__(self) -> None:
        require_range("fixed", self.share, 0, 1)

    def check(self, problem: Problem, prior: Prior) -> None:
        """Raises what the encoder's own check raises."""
        check = getattr(self.encoder, "check", None)
        if check is not None:
            check(problem, prior)

    def __call__(self, observation: Observation, prior: Prior) -> tuple[Tensor, Tensor]:
        z, s2 = self.encoder(observation, prior)
        process = prior.process
        t = process.on_grid(process.at_pace(torch.full_like(s2, self.share)))
        return z, process.ratio(t) ** 2


@dataclass(frozen=True)
class Severity(Start):
    """z at the time t* whose SNR is that of the estimate: alpha_t*^2 / sigma_t*^2 = 1 / s2, (z_hat, s2) = encoder(y).

    Fabian, Tinaz and Soltanolkotabi, Adapt and Diffuse, ICML 2024, sec. 3.3. An easy image starts late and takes few
    steps. Rules for z, with c s2 held below 1:

        "exact"      alpha_t* z_hat                                     its error is the noise; none is added
        "paper"      sqrt(1 - c s2) z_hat + sqrt(c s2) n                alpha_t* for the root on VE and pixel processes
        "released"   as "paper", and the first call is made one step of the grid further down, as the code does
        "inversion"  z_hat carried up to t* by DDIM inversion along the grid

    Where the error of z_hat is white, "exact" starts from the posterior's own law, and "paper" adds noise to a state
    that already has all of it. s2 is in the codec's units.

    Args:
        encoder: tells z_hat and s2; see `pellucid.severity`.
        rule: see above.
        c: noise correction of "paper" and "released".
        grid: times that t* may be, the SNR nearest to 1 / s2 among them: those of a sub-sequence, as the paper has it.
            None: every time of the process, so that the noise level is matched as well as it can be.
        share: t* is taken to this share of its way (at the process's pace): below 1 for a budget.

    Raises:
        CompatibilityError: an unknown rule, a negative c, or a share outside [0, 1].
    """

    encoder: Encoder
    rule: Rule = "exact"
    c: float = 1.2
    grid: Grid | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise CompatibilityError(f"rule must be one of {', '.join(RULES)}, not {self.rule!r}")
        require_range("c", self.c, 0)
        require_range("share", self.share, 0, 1)

    def check(self, problem: Problem, prior: Prior) -> None:
        check = getattr(self.encoder, "check", None)
        if check is not None:
            check(problem, prior)

    def __call__(self, observation: Observation, prior: Prior, noise: Noise, top: Tensor) -> State:
        z, s2 = self.encoder(observation, prior)
        t = torch.minimum(self.time(prior.process, s2), top)
        if self.rule == "exact":
            return State(prior.process.mean(z, t), t)
        if self.rule == "inversion":
            times = Below(self.grid or Uniform(50)).times(prior.process, t).flip(0)
            lowest = torch.where(times > 0, times, torch.inf).amin(0)  # z_hat stands for the state there
            lowest = torch.where(t > 0, torch.minimum(lowest, t), t)
            return State(climbed(z, torch.maximum(times, lowest), prior, noise, Inversion(0.0)), t)
        return State(self.corrected(z, s2, t, prior, noise), t)

    def time(self, process: Process, s2: Tensor) -> Tensor:
        """t*, (b,), for variances s2 (b,)."""
        s2 = s2.double().cpu()
        if not torch.isfinite(s2).all() or (s2 < 0).any():
            raise CompatibilityError(f"a severity encoder gave the variances {s2.tolist()}: none may be NaN or below 0")
        points = self._points(process)
        if points is None:
            t = process.time_at_ratio(s2.sqrt())
        else:
            distance = (process.snr(points) - 1 / s2[:, None]).abs()
            nearest = torch.where(s2 > 0, distance.nan_to_num(nan=torch.inf).argmin(1), 0)
            nearest = nearest if self.rule != "released" else nearest - 1
            t = torch.where((s2 > 0) & (nearest >= 0), points[nearest.clamp(min=0)], 0.0)
        return process.on_grid(process.at_pace(self.share * process.pace(t))) if self.share < 1 else t

    def _points(self, process: Process) -> Tensor | None:
        """The times above 0 to choose from, rising; None where every one may be taken."""
        if self.grid is not None:
            return Below(self.grid).points(process)[:-1].unique()
        return torch.arange(1, int(process.t_max) + 1, dtype=torch.float64) if process.discrete else None

    def corrected(self, z: Tensor, s2: Tensor, t: Tensor, prior: Prior, noise: Noise) -> Tensor:
        """z_hat with the paper's correction noise."""
        s2 = s2.double().cpu()
        if self.share < 1:  # of a shortened way, only as much noise as there is at its time
            s2 = torch.minimum(s2, prior.process.ratio(t) ** 2)
        variance = self.c * s2
        if (variance >= 1).any():
            largest = float(variance.max())
            warnings.warn(
                f"the noise correction c s2 is {largest:.3g}, and was held below 1: the measurement tells next to "
                f"nothing; lower c, or take the rule 'exact'",
                stacklevel=2,
            )
        variance = variance.clamp(max=1 - 1e-6)
        latent = not prior.codec.linear and isinstance(prior.process, DiscreteVP)
        keep = (1 - variance).sqrt() if latent else prior.process.alpha(t)
        return expand(keep, z) * z + expand(variance.sqrt(), z) * noise.normal(z, 0, "start")
