"""The severity encoder that perfect training would end with, where the posterior is known."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.errors import CompatibilityError
from pellucid.method import Method
from pellucid.methods import Preset
from pellucid.prior.base import Prior
from pellucid.prior.gaussian import GaussianPrior, MixturePrior
from pellucid.problem import Observation
from pellucid.verify.oracle import GaussianPosterior, MixturePosterior


class PosteriorSeverity:
    """z_hat = E[x_0 | y], s2 = the mean over pixels of Var[x_0 | y]: what least squares and its error come to.

    Raises:
        CompatibilityError: when used, for a prior or a problem whose posterior is not known exactly.
    """

    def __call__(self, observation: Observation, prior: Prior) -> tuple[Tensor, Tensor]:
        means: list[Tensor] = []
        variances: list[Tensor] = []
        for k in range(len(observation.y)):
            one = observation.select(torch.tensor([k]))
            if k and torch.equal(one.y[0], observation.y[k - 1]) and one.noise_std == observation.noise_std[k - 1]:
                means.append(means[-1])
                variances.append(variances[-1])
                continue
            known = _posterior(prior, one)
            means.append(known.mean)
            variances.append((known.std**2).mean())
        return torch.cat(means).to(observation.y), torch.stack(variances)


def _posterior(prior: Prior, one: Observation) -> GaussianPosterior | MixturePosterior:
    if isinstance(prior, GaussianPrior):
        return GaussianPosterior.of(prior, one)
    if isinstance(prior, MixturePrior):
        return MixturePosterior.of(prior, one)
    raise CompatibilityError(f"{type(prior).__name__} has no exact posterior: name a severity encoder")


def built(preset: Preset, nfe: int | None = None, **options: Any) -> Method:
    """The method; one that takes a severity encoder, and is told none, gets the exact one."""
    if "encoder" in preset.options:
        options = {"encoder": PosteriorSeverity(), **options}
    return preset.build(nfe, None, **options)
