"""Back-projection of the decoded estimate: encode, project, decode."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from pellucid.consistency.base import Consistency
from pellucid.consistency.pictures import network_units, on_pictures, squared_norm
from pellucid.consistency.proximal import noise_level, reading_scale
from pellucid.errors import require_range
from pellucid.operators.base import LinearOperator, Operator, Spectral
from pellucid.prior.base import Estimate, Prior, State
from pellucid.problem import Observation
from pellucid.typing import expand


@dataclass(frozen=True)
class LatentBackProjection(Consistency):
    """z0 <- E(x - A^+ (A x - y)) with x = D(z0), direction by direction while x_t is noisier than y; eps is kept.

    As `QuietBackProjection`, but on decoded pictures: where the spectrum is known, a singular direction is held where
    sigma_y / s < S = factor sqrt(N / n) sigma_t / alpha_t, in the network's units, N entries in a picture and n in its
    latents. Elsewhere A^+ is (A^T A + (sigma_y / S)^2 I)^{-1} A^T: every direction is held by s^2 / (s^2 +
    sigma_y^2 / S^2), one half where the other rule lets go, so that noise grows to S / 2 at most; and nothing is held
    once sigma_y / |A| is above S.

    Behind an autoencoder this is an approximation, three times: E undoes D only nearly, so that every step costs the
    autoencoder's error; the code of a picture that is consistent with y need not decode to one that is; and D is taken
    to move pixels as far as latents are moved, whose noise then lies in n of the N directions, sqrt(N / n) times as
    loud there. With an affine codec none of them is there.

    Args:
        factor: how much quieter x_t must be: below 1 lets go sooner.
        residual_code: z0 + E(projected) - E(x) instead of E(projected): the autoencoder's error then cancels where
            there is nothing to project.
    """

    factor: float = 1.0
    residual_code: bool = True
    needs_of_pictures: ClassVar[type[Operator]] = LinearOperator

    def __post_init__(self) -> None:
        require_range("factor", self.factor, 0)

    def refine(self, estimate: Estimate, state: State, s: Tensor, observation: Observation, prior: Prior) -> Estimate:
        pictures, codec = on_pictures(observation), prior.codec
        x = codec.picture(estimate.x0, pictures.operator.image_shape)
        louder = (x[0].numel() / estimate.x0[0].numel()) ** 0.5
        level = self.factor * louder * prior.process.ratio(state.t) / network_units(codec)
        change = self.change(x, level, pictures)
        code = codec.encode(x + change)
        if self.residual_code:
            code = estimate.x0 + code - codec.encode(x)
        # An image of which nothing is held keeps its estimate, and is not sent through the autoencoder in vain.
        held = change.flatten(1).any(1)
        return replace(estimate, x0=torch.where(expand(held.double(), code) > 0, code, estimate.x0))

    def change(self, x: Tensor, level: Tensor, pictures: Observation) -> Tensor:
        """The projection's step on pictures x in [0, 1]; `level` is that of x_t in their units, (b,)."""
        operator = pictures.operator
        assert isinstance(operator, LinearOperator)
        noise = noise_level(pictures)
        if isinstance(operator, Spectral):
            inverse = operator.inverse_singular_values(x)
            held = operator.kept(x) & (expand(noise, inverse) * inverse < expand(level, inverse))
            measured = operator.measured_to_spectrum(pictures.y)
            return operator.from_spectrum(held * (inverse * measured - operator.to_spectrum(x)))
        length, _ = reading_scale(operator)
        weight, most = (
            ((noise / level) ** 2).clamp(min=1e-8 * length**2),
            squared_norm(pictures, operator).double().cpu(),
        )
        some = weight < most
        pull = expand(some.double(), x) * operator.adjoint(pictures.residual(x))
        return operator.solve_normal(pull, torch.where(some, weight, most))
