"""Back-projection of the decoded estimate: encode, project, decode."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from pellucid.consistency.base import Consistency
from pellucid.consistency.pictures import network_units, on_pictures
from pellucid.consistency.proximal import noise_level
from pellucid.errors import require_range
from pellucid.operators.base import LinearOperator, Operator, Spectral
from pellucid.prior.base import Estimate, Prior, State
from pellucid.problem import Observation
from pellucid.typing import expand


@dataclass(frozen=True)
class LatentBackProjection(Consistency):
    """z0 <- E(x - A^+ (A x - y)) with x = D(z0), direction by direction while x_t is noisier than y; eps is kept.

    As `QuietBackProjection`, but on decoded pictures: singular direction by singular direction where the spectrum is
    known, else all at once, a direction is held where sigma_y / s < factor sqrt(N / n) sigma_t / alpha_t, in the
    network's units, N entries in a picture and n in its latents.

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
        whole = expand((noise < level).double(), x)
        return whole * operator.pinv(pictures.residual(x))
