"""Dirac's prior: from a picture on its way through a degradation process to the clean one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.codec import AffineCodec
from pellucid.degradation import Degradation
from pellucid.errors import CompatibilityError, ShapeError
from pellucid.nn.restorer import DiracNetwork
from pellucid.prior.base import Estimate, State
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.typing import Shape, expand

Restoration = Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]


class DiracPrior(DiffusionPrior):
    """Phi(y_t, t) = E[x_0 | y_t] of y_t = A_t(x_0) + sigma_t z, from a network that is told sigma_t.

    Fabian, Tinaz and Soltanolkotabi, DiracDiffusion, ICML 2024. The score is (A_t(Phi) - y_t) / sigma_t^2 (eq. 11),
    that is -eps / sigma_t. Pictures stay in [0, 1]. A network may predict A_t(x_0) instead, with the rate -dA_t(x_0)/dt
    at which it clears up; then x0 is A_t(x_0) + t rate, Taylor's estimate, and eps comes from A_t(x_0) itself.

    Args:
        network: (y (b, c, h, w) in [0, 1], sigma (b,)) -> (estimate, rate or None), see `nn.restorer.Restorer`.
        process: the degradation process that it was trained on.
        direct: whether the estimate is of x_0, and not of A_t(x_0).
        rates: whether the network tells rates.
        lifted: whether it is shown `process.lifted(y_t, t)` instead of y_t.
        severity: y -> t (b,), for measurements of unknown severity; None where there is none.
        tuned: what `train.stops` found on validation pictures: `points`, where to stop for what, as keywords of the
            method `dirac`, and `tradeoff`, a list of {t, psnr, distance} along the path.
        multiple, channels, autocast: see `DiffusionPrior`.
    """

    process: Degradation

    def __init__(
        self,
        network: Restoration,
        process: Degradation,
        *,
        direct: bool = True,
        rates: bool = False,
        lifted: bool = False,
        severity: Callable[[Tensor], Tensor] | None = None,
        tuned: Mapping[str, Any] | None = None,
        multiple: int = 1,
        channels: int | None = None,
        autocast: torch.dtype | None = None,
    ) -> None:
        joined = Joined(network)
        identity = AffineCodec(1.0, 0.0)
        super().__init__(joined, process, "x0", codec=identity, multiple=multiple, channels=channels, autocast=autocast)
        self.direct, self.rates, self.lifted, self._severity = direct, rates, lifted, severity
        known = tuned or {}
        self.points: dict[str, dict[str, Any]] = {name: dict(words) for name, words in known.get("points", {}).items()}
        self.tradeoff: list[dict[str, float]] = [dict(place) for place in known.get("tradeoff", [])]

    @classmethod
    def of(cls, model: DiracNetwork, process: Degradation, **words: Any) -> DiracPrior:
        """The prior of a trained network."""
        restorer = model.restorer
        return cls(
            model,
            process,
            direct=restorer.predicts == "x0",
            rates=restorer.rates,
            lifted=restorer.lifted,
            severity=model.severity,
            multiple=restorer.multiple,
            channels=restorer.channels,
            **words,
        )

    def check(self, image_shape: Shape) -> None:
        """Raises `ShapeError` where the network takes pictures of other channels, grey ones in a colour network too.

        Three equal channels have noise that is none to such a network: it is the same in all of them.
        """
        super().check(image_shape)
        if self.channels == 3 and self.codec.shape(image_shape)[0] == 1:
            raise ShapeError(
                "this dirac prior takes colour pictures, and a grey one's noise, the same in three channels, is not "
                "the noise that it knows; train one with channels = 1, or take another method (ddnm+, dps)"
            )

    def severity(self, y: Tensor) -> Tensor:
        """t of measurements y (b, c, h, w), (b,) float64 on the CPU, by the network's head.

        Raises:
            CompatibilityError: there is no head.
        """
        if self._severity is None:
            raise CompatibilityError(
                "this prior has no head that tells how strong a degradation is; name the operator, as in "
                "gaussian-blur:std=2"
            )
        dtype, device = self._own(y)
        shown = y.expand(-1, self.channels or y.shape[1], -1, -1) if y.shape[1] == 1 else y
        with torch.no_grad():
            return self._severity(shown.to(device, dtype)).double().cpu()

    def estimate(self, state: State, *, differentiable: bool = False) -> Estimate:
        return self.interpreted(super().estimate(state, differentiable=differentiable), state)

    def interpreted(self, found: Estimate, state: State) -> Estimate:
        """An estimate whose `mix` is what `_denoise` put there, with the rate and eps that this tells.

        Those who put estimates together from parts, as of tiles, have them interpreted afterwards.
        """
        if found.mix is None:
            return found
        now, rate = found.mix.chunk(2, dim=1)
        eps = found.eps if self.direct else (state.x - now) / expand(self.process.sigma(state.t), now)
        return replace(found, eps=eps, rate=rate, mix=None)

    def _denoise(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor | None]:
        """(x0, A_t(x_0) and rate side by side, where the network makes a rate)."""
        c = x.shape[1]
        shown = x.expand(-1, 3, -1, -1) if self.channels == 3 and c == 1 else x
        given = self.process.lifted(shown, t) if self.lifted else shown
        parts = self._call(given, self.process.sigma(t)).split(shown.shape[1], dim=1)
        own = [part.mean(1, keepdim=True) if shown is not x else part for part in parts]
        if len(own) == 1:
            return own[0], None
        now, rate = own
        return now if self.direct else now + expand(t, x) * rate, torch.cat(own, dim=1)


class Joined(nn.Module):
    """A restoration network whose two results are one tensor, side by side in the channels."""

    def __init__(self, network: Restoration) -> None:
        super().__init__()
        self.network = network

    def forward(self, y: Tensor, sigma: Tensor) -> Tensor:
        estimate, rate = self.network(y, sigma)
        return estimate if rate is None else torch.cat([estimate, rate], dim=1)
