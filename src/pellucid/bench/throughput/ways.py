"""The work, and the orders that it is done in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from pellucid import methods
from pellucid.errors import ConfigError
from pellucid.grid import Below, Uniform
from pellucid.loop import reconstruct
from pellucid.method import Method
from pellucid.noise import Noise, SeededNoise
from pellucid.operators.base import LinearOperator, Operator
from pellucid.operators.blur import GaussianBlur
from pellucid.operators.mask import Mask
from pellucid.prior.base import Prior, State
from pellucid.problem import Observation, Problem
from pellucid.slots import stream
from pellucid.start.base import Start
from pellucid.start.encoded import Encoded
from pellucid.start.initial import PseudoInverse

DEGRADATIONS = {
    "blur": "one Gaussian blur for all",
    "mask": "holes of its own in every picture, 5 to 90 % of it",
}
SEVEREST = 0.1  # noise_std of the picture that starts at the top
Pictures = list[Tensor]


@dataclass(frozen=True)
class Spread(Start):
    """The noised pseudo-inverse at a share of the time that is the noise's share of `SEVEREST`."""

    initial: Start = field(default_factory=lambda: Encoded(PseudoInverse()))
    needs_of_pictures: ClassVar[type[Operator]] = LinearOperator

    def __call__(self, observation: Observation, prior: Prior, noise: Noise, top: Tensor) -> State:
        assert observation.problem is not None
        process = prior.process
        share = (observation.problem.std.cpu() / SEVEREST).clamp(max=1)
        t = process.on_grid(process.at_pace(share)).clamp(min=1 if process.discrete else 0)
        x = self.initial(observation, prior, noise, top).x
        return State(process.diffuse(x, t, noise.normal(x, 0, "start")), t)


class Padded(Prior):
    """A prior whose network is called on a full batch, however few pictures still need it.

    Args:
        prior: the prior.
        batch: pictures of a full batch.
    """

    def __init__(self, prior: Prior, batch: int) -> None:
        self.prior, self.batch = prior, batch
        self.process, self.codec, self.learned_variance = prior.process, prior.codec, prior.learned_variance

    def _denoise(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor | None]:
        index = torch.arange(self.batch) % len(x)
        x0, mix = self.prior._denoise(x[index], t[index])
        return x0[: len(x)], None if mix is None else mix[: len(x)]


@dataclass(frozen=True)
class Work:
    """What is to be reconstructed.

    Attributes:
        problems: one picture each, in the order of arrival.
        prior: the prior.
        method: the method.
        batch: pictures of a full batch, and slots.
        gradient: whether a call of the network is one with its gradient and the decoder's.
    """

    problems: Sequence[Problem]
    prior: Prior
    method: Method
    batch: int
    gradient: bool = False

    @classmethod
    def of(
        cls,
        prior: Prior,
        images: int,
        size: int,
        batch: int,
        steps: int,
        method: str,
        degradation: str = "mask",
        device: str = "cpu",
    ) -> Work:
        """Pictures with noise of 5 to 100 % of `SEVEREST`, in random order, degraded by one of `DEGRADATIONS`.

        Raises:
            ConfigError: there is no such degradation.
        """
        if degradation not in DEGRADATIONS:
            raise ConfigError(f"there is no degradation {degradation!r}; they are {', '.join(DEGRADATIONS)}")
        shape = (3, size, size)
        blur = GaussianBlur(shape, 1.5)
        shares = torch.linspace(0.05, 1, images, dtype=torch.float64)
        shares = shares[torch.randperm(images, generator=torch.Generator().manual_seed(0))]
        problems = []
        for i, share in enumerate(shares.tolist()):
            operator = blur if degradation == "blur" else Mask.random(shape, 0.9 * share, seed=i)
            coarse = SeededNoise([i]).normal(torch.empty(1, 3, 8, 8), 0, "picture").sigmoid()
            y = operator(torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear"))
            std = SEVEREST * share
            problems.append(Problem((y + std * SeededNoise([i]).normal(y, 0, "measured")).to(device), operator, std))
        built = methods.get(method).build(nfe=steps)
        adapted = replace(built, start=Spread(), grid=Below(Uniform(steps)))
        return cls(problems, prior, adapted, batch, adapted.consistency.needs_vjp)

    def one_by_one(self) -> Pictures:
        """Every picture alone."""
        return [reconstruct(problem, self.prior, self.method, seeds=i).image for i, problem in enumerate(self.problems)]

    def padded(self) -> Pictures:
        """Batches in the order of arrival, computed to the end of the longest."""
        return self._batches(range(len(self.problems)), Padded(self.prior, self.batch))

    def shrinking(self) -> Pictures:
        """The same batches by `reconstruct`."""
        return self._batches(range(len(self.problems)), self.prior)

    def sorted(self) -> Pictures:
        """Padded batches of pictures that need about as many calls."""
        order = sorted(range(len(self.problems)), key=lambda i: -float(self.problems[i].std[0]))
        return self._batches(order, Padded(self.prior, self.batch))

    def slots(self) -> Pictures:
        """`stream`."""
        found = stream(iter(self.problems), self.prior, self.method, slots=self.batch)
        return [result.image for _, result in found]

    def _batches(self, order: Sequence[int], prior: Prior) -> Pictures:
        pictures: dict[int, Tensor] = {}
        for first in range(0, len(order), self.batch):
            chosen = list(order[first : first + self.batch])
            together = Problem.gather([(self.problems[i], 0) for i in chosen])
            image = reconstruct(together, prior, self.method, seeds=chosen).image
            pictures.update(zip(chosen, image.split(1), strict=True))
        return [pictures[i] for i in range(len(order))]

    @property
    def ways(self) -> dict[str, Callable[[], Pictures]]:
        """By name."""
        return {
            "one by one": self.one_by_one,
            "padded": self.padded,
            "shrinking": self.shrinking,
            "sorted": self.sorted,
            "slots": self.slots,
        }

    def calls_needed(self) -> list[int]:
        """NFE of every picture."""
        top = torch.full((1,), self.method.grid.top(self.prior.process), dtype=torch.float64)
        counts = []
        for problem in self.problems:
            observation = self.prior.codec.observe(problem)
            t = self.method.start(observation, self.prior, SeededNoise([0]), top).t
            counts.append(int((self.method.grid.times(self.prior.process, t).diff(dim=0) != 0).sum()))
        return counts

    def bare(self) -> None:
        """One network call on a full batch; with the gradients of network and decoder where the method takes them."""
        problem = self.problems[0]
        shape = (self.batch, *self.prior.codec.shape(problem.operator.image_shape))
        x = torch.zeros(shape, dtype=problem.y.dtype, device=problem.y.device)
        process = self.prior.process
        t = process.on_grid(process.at_pace(torch.linspace(0.1, 0.9, self.batch, dtype=torch.float64)))
        estimate = self.prior.estimate(State(x, t), differentiable=self.gradient)
        if not self.gradient:
            return
        assert estimate.vjp is not None
        with torch.enable_grad():
            x0 = estimate.x0.requires_grad_()
            picture = self.prior.codec.picture(x0, problem.operator.image_shape)
            (gradient,) = torch.autograd.grad(picture.square().sum(), x0)
        estimate.vjp(gradient)
