"""Guidance behind an autoencoder: the likelihood of the decoded estimate, and what holds latents to decodable ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pellucid.consistency.base import Consistency
from pellucid.consistency.guidance import harmonic_mean
from pellucid.consistency.pictures import network_units, on_pictures, squared_norm
from pellucid.consistency.proximal import reading_scale
from pellucid.consistency.when import During
from pellucid.errors import CompatibilityError, require_range
from pellucid.noise import Noise
from pellucid.operators.base import LinearOperator, Operator
from pellucid.prior.base import Prior
from pellucid.problem import Observation
from pellucid.step import Step
from pellucid.transition import score_shift
from pellucid.typing import dot, expand

LatentRule = Literal["likelihood", "paper", "released"]
RULES = ("likelihood", "paper", "released")


class Glue(ABC):
    """A second term: how far z0 is from the code of a picture that it should decode to.

    Attributes:
        needs_of_pictures: the rung of the operator on pictures that it needs.
    """

    needs_of_pictures: ClassVar[type[Operator]] = Operator

    @abstractmethod
    def target(self, image: Tensor, residual: Tensor, observation: Observation) -> Tensor:
        """The picture whose code z0 should be, given D(z0) and y - A(D(z0)), all in [0, 1] units; differentiable."""

    def check(self, operator: Operator) -> None:
        """Raises `CompatibilityError` where the operator on pictures is of a kind that the term cannot take."""


@dataclass(frozen=True)
class Decodable(Glue):
    """GML-DPS: E(D(z0)), the code of what z0 decodes to."""

    def target(self, image: Tensor, residual: Tensor, observation: Observation) -> Tensor:
        return image


@dataclass(frozen=True)
class Projected(Glue):
    """PSLD: E(A^T y + D(z0) - A^T A D(z0)), the code of the decoded picture with the measured part put in.

    The picture is D(z0) + A^T (y - A D(z0)). In the network's range, y_net = 2 y - A(1) and x_net = 2 x - 1, it is
    A^T y_net + (I - A^T A) x_net = 2 (x + A^T (y - A x)) - 1: the same picture, so that it is formed in [0, 1].

    A^T stands for a projection: where I - A^T A would enlarge, |A|^2 > 2, it is divided by |A|^2. A sinogram counts in
    pixel lengths there, whatever its unit.

    Args:
        adjoint: "true", or "identity", what the released code takes for blurs; y must then have the picture's shape.
    """

    adjoint: Literal["true", "identity"] = "true"
    needs_of_pictures: ClassVar[type[Operator]] = LinearOperator

    def __post_init__(self) -> None:
        if self.adjoint not in ("true", "identity"):
            raise CompatibilityError(f"adjoint must be true or identity, not {self.adjoint!r}")

    def target(self, image: Tensor, residual: Tensor, observation: Observation) -> Tensor:
        operator = on_pictures(observation).operator
        assert isinstance(operator, LinearOperator)
        if self.adjoint == "true":
            square = squared_norm(observation, operator)
            unit = reading_scale(operator)[0] ** 2
            return image + operator.adjoint(residual) / expand(torch.where(square > 2 * unit, square, unit), image)
        self.check(operator)
        return image + residual

    def check(self, operator: Operator) -> None:
        if self.adjoint == "identity" and operator.measurement_shape != operator.image_shape:
            raise CompatibilityError(
                f"adjoint='identity' is for measurements of the picture's shape, as blurs give them; "
                f"{type(operator).__name__} makes {operator.measurement_shape} of {operator.image_shape}"
            )


@dataclass(frozen=True)
class LatentGuidance(Consistency):
    """Latent-DPS: z_s <- z_s - c grad_{z_t} (scale |r| + weight |z0 - E(.)|), r = y - A(D(z0(z_t))).

    Song et al., ReSample, ICLR 2024, eq. (8) and (9); Flash-Diffusion (Fabian et al., ICML 2024) with a second term.
    Norms are of one image, in the network's units: |r| is that of y in [-1, 1]. Rules, m entries in y:

        "likelihood"  c = (alpha_s / alpha_t) beta |r| / v at most, v = max(|r|^2 / m, sigma_y^2)
        "released"    c = 1, Flash's code
        "paper"       as "released", the first term twice: grad |r|^2 / |r|

    ReSample's code takes another step, at another estimate: `resample(as_released=True)` has it. A sinogram counts in
    pixel lengths, whatever its unit.

    The first is `PosteriorGuidance`'s default: DDPM's shift for a Gaussian likelihood whose variance r itself tells,
    cut where it overshoots: at half the step that would bring |r| to zero if its square curved the same in all
    directions. With a second term, which has its share of the step, the bound is on their sum.

    Args:
        scale: eta of the papers, under the last two rules; under the first it multiplies the step.
        rule: see above.
        glue: the second term, None for none.
        weight: of the second term, beside `scale`.
        through_network: False takes eps for a constant, so that d z0 / d z_t = 1 / alpha_t; it saves the gradient
            through the network.
        noiser: standard deviation, in [0, 1] units, of fresh noise on A(D(z0)), as PSLD's code adds it.
    """

    scale: float = 1.0
    rule: LatentRule = "likelihood"
    glue: Glue | None = None
    weight: float = 0.0
    through_network: bool = True
    noiser: float = 0.0

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise CompatibilityError(f"rule must be one of {', '.join(RULES)}, not {self.rule!r}")
        for name in ("scale", "weight", "noiser"):
            require_range(name, getattr(self, name), 0)
        object.__setattr__(self, "needs_vjp", self.through_network)
        if self.glue is not None:
            object.__setattr__(self, "needs_of_pictures", self.glue.needs_of_pictures)

    def check(self, operator: Operator) -> None:
        if self.glue is not None:
            self.glue.check(operator)

    def gradients(self, steps: int) -> int:
        return steps

    def correct(self, step: Step, observation: Observation, prior: Prior, noise: Noise) -> Tensor:
        terms = self.terms(step, observation, prior, noise)
        if self.through_network:
            assert step.raw.vjp is not None
            gradient = step.raw.vjp(terms.gradient)
        else:
            gradient = terms.gradient / expand(prior.process.alpha(step.state.t), terms.gradient)
        return step.x_s - expand(self.length(step, prior, terms, gradient), gradient) * gradient

    def terms(self, step: Step, observation: Observation, prior: Prior, noise: Noise) -> Terms:
        """Both terms at z0, and the gradient of their weighted sum."""
        pictures, codec = on_pictures(observation), prior.codec
        unit, _ = reading_scale(pictures.operator)
        units = network_units(codec) / unit
        with torch.enable_grad():
            z0 = step.raw.x0.detach().requires_grad_()
            image = codec.picture(z0, pictures.operator.image_shape)
            r = pictures.residual(image)
            variance = pictures.variance_at((pictures.y - r).detach())
            level = harmonic_mean(variance)
            weight = 1 if pictures.gain is None else expand(level, variance) / variance
            heard = r - self.noiser * unit * noise.normal(r, step.state.index, "noiser") if self.noiser else r
            size = units * length(weight**0.5 * heard)
            apart = torch.zeros_like(size)
            if self.glue is not None and self.weight:
                apart = length(z0 - codec.encode(self.glue.target(image, r, observation)))
            share = 2 * self.scale if self.rule == "paper" else self.scale
            (gradient,) = torch.autograd.grad((share * size + self.weight * apart).sum(), z0)
        return Terms(size.detach(), apart.detach(), units**2 * level, r[0].numel(), gradient)

    def length(self, step: Step, prior: Prior, terms: Terms, gradient: Tensor) -> Tensor:
        """c, (b,)."""
        if self.rule != "likelihood":
            return torch.ones_like(step.s)
        size, apart, level = (v.double().cpu() for v in (terms.size, terms.apart, terms.level))
        v = torch.maximum(size**2 / terms.entries, level)
        own = score_shift(prior.process, step.state.t, step.s) * size / v
        slope = dot(gradient, gradient).double().cpu().clamp(min=torch.finfo(torch.float64).tiny)
        value = self.scale * size + self.weight * apart
        return torch.minimum(own, self.scale * value / (2 * slope))


def every_so_often(guidance: LatentGuidance, every: int, steps: int) -> Consistency:
    """Guidance at every `every`-th of a grid's steps, the last among them; the others call the network alone.

    Steps keep their length: one that is longer by the steps that it stands for was no better. As the last step acts,
    it does so too for an image that starts near the end, as `flash` lets easy ones.

    Raises:
        CompatibilityError: `every` is below 1.
    """
    require_range("every", every, 1)
    return guidance if every == 1 else During(guidance, first=(steps - 1) % every, every=every)


@dataclass(frozen=True)
class Terms:
    """What `LatentGuidance` steps by, per image.

    Attributes:
        size, apart: |r| in the network's units, and |z0 - E(.)|, (b,).
        level: variance of the noise in r per entry, in the network's units, (b,).
        entries: of one measurement.
        gradient: of the weighted sum, in z0, (b, ...).
    """

    size: Tensor
    apart: Tensor
    level: Tensor
    entries: int
    gradient: Tensor


def length(x: Tensor) -> Tensor:
    """The norm of every image, (b,), with gradient 0 where x is 0."""
    square = x.square().flatten(1).sum(1)
    positive = square > 0
    return torch.where(positive, torch.where(positive, square, 1).sqrt(), 0)
