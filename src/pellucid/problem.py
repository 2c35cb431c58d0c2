"""What a solver may know: the measurement, the forward model, the noise. Never the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pellucid.account import only
from pellucid.codec.base import Decoded
from pellucid.errors import OperatorError, ProblemError
from pellucid.operators.adapter import LinearPhysics, Physics, as_operator
from pellucid.operators.base import Operator, Spectral
from pellucid.operators.each import each
from pellucid.typing import expand


@dataclass(frozen=True)
class Problem:
    """A measurement y = A(x) + n.

    Args:
        y: (b, *measurement_shape), in the units of pictures in [0, 1].
        operator: A, on pictures in [0, 1]; a linear `deepinv` physics is taken as well.
        noise_std: standard deviation of Gaussian n in [0, 1] units, one number or (b,).
        gain: Poisson noise adds variance gain * A(x), that is 1 / (photons at white); 0 for none, or (b,).

    Raises:
        ShapeError: y does not fit the operator.
        ProblemError: y, the noise or the gain is not finite, or one of the latter is negative or of a wrong length.
    """

    y: Tensor
    operator: Operator
    noise_std: float | Tensor = 0.0
    gain: float | Tensor = 0.0

    def __post_init__(self) -> None:
        given: object = self.operator
        if not isinstance(given, Operator):
            object.__setattr__(self, "operator", _adapted(given, self.y))
        self.operator.require(self.y, self.operator.measurement_shape, "measurement")
        if not torch.isfinite(self.y).all():
            raise ProblemError("the measurement holds NaN or infinite values; mend or mask them first")
        for name in ("noise_std", "gain"):
            value = torch.as_tensor(getattr(self, name))
            if value.ndim > 1 or (value.ndim == 1 and len(value) != len(self.y)):
                raise ProblemError(
                    f"{name} must be one number or one per image ({len(self.y)}), not {tuple(value.shape)}"
                )
            if not torch.isfinite(value).all() or (value < 0).any():
                raise ProblemError(f"{name} must be finite and not negative, not {getattr(self, name)}")

    @property
    def std(self) -> Tensor:
        """noise_std per image, (b,) float64."""
        return torch.as_tensor(self.noise_std, dtype=torch.float64, device=self.y.device).expand(len(self.y))

    @property
    def variance(self) -> Tensor:
        """Variance of every entry of y, broadcastable to y: noise_std^2 + gain max(y, gain), y standing in for A(x)."""
        gaussian = expand(self.std**2, self.y)
        gain = expand(torch.as_tensor(self.gain, dtype=torch.float64), self.y)
        if not gain.any():
            return gaussian
        return gaussian + gain * torch.maximum(self.y, gain)

    def select(self, index: Tensor) -> Problem:
        """The problem of images `index` of the batch."""
        noise_std, gain = (
            value[index] if isinstance(value, Tensor) and value.ndim else value for value in (self.noise_std, self.gain)
        )
        return Problem(self.y[index], self.operator.select(index), noise_std, gain)

    @classmethod
    def gather(cls, sources: Sequence[tuple[Problem, int]]) -> Problem:
        """One problem of images of several: each is (the problem that it is in, its place there)."""
        places = [place for _, place in sources]
        return cls(
            torch.stack([whole.y[i] for whole, i in sources]),
            each([whole.operator for whole, _ in sources], places),
            torch.stack([whole.std[i] for whole, i in sources]),
            torch.stack(
                [torch.as_tensor(whole.gain, dtype=torch.float64).expand(len(whole.y))[i] for whole, i in sources]
            ),
        )


def _adapted(physics: object, y: Tensor) -> Operator:
    """A foreign forward model as an operator; its adjoint tells the picture's shape."""
    if not isinstance(physics, Physics):
        raise OperatorError(
            f"{type(physics).__name__} is no operator: it has no method A(x), as deepinv's physics have"
        )
    if not isinstance(physics, LinearPhysics):
        raise OperatorError("for a nonlinear physics say the picture's shape: as_operator(physics, image_shape)")
    with torch.no_grad():
        return as_operator(physics, tuple(physics.A_adjoint(y[:1]).shape[1:]))


class Memory:
    """What a part wants to know again at a later step of the same run, image by image.

    Args:
        images: what is known of every image, by name; a selection shares it with the whole.
    """

    def __init__(self, images: Sequence[dict[str, Tensor]] | None = None) -> None:
        self._images = None if images is None else list(images)

    def get(self, name: str, like: Tensor) -> Tensor:
        """What was put there for these images, (b, ...); zeros for an image that has nothing there."""
        found = [known.get(name) for known in self.of(len(like))]
        return torch.stack([torch.zeros_like(x) if y is None else y for x, y in zip(like, found, strict=True)])

    def put(self, name: str, value: Tensor) -> None:
        """Keeps `value` (b, ...) for these images."""
        for known, x in zip(self.of(len(value)), value, strict=True):
            known[name] = x

    def of(self, batch: int) -> list[dict[str, Tensor]]:
        """What is known of every image of a batch of so many."""
        if self._images is None:
            self._images = [{} for _ in range(batch)]
        return self._images

    def select(self, index: Tensor, batch: int) -> Memory:
        """The same memory, of images `index` of a batch of so many."""
        images = self.of(batch)
        return Memory([images[i] for i in torch.arange(batch)[index.cpu()].tolist()])


@dataclass(frozen=True)
class Observation:
    """A problem in the units of the prior's space, as `Codec.observe` makes it: y = A(x) + n.

    Attributes:
        y: (b, *measurement_shape).
        operator: A on the prior's space.
        noise_std: Gaussian noise level, (b,) float64.
        variance: of every entry of y, broadcastable to y; it exceeds noise_std^2 where there is Poisson noise.
        gain: of Poisson noise in these units, (b,) float64; None where there is none.
        black: the measurement of a black picture in these units, broadcastable to y.
        problem: the problem that this is, in the units of pictures: for methods that also work on pictures.
        memory: of this run.
    """

    y: Tensor
    operator: Operator
    noise_std: Tensor
    variance: Tensor
    gain: Tensor | None = None
    black: Tensor | None = None
    problem: Problem | None = None
    memory: Memory = field(default_factory=lambda: Memory(), repr=False, compare=False)
    _known: Memory = field(default_factory=lambda: Memory(), repr=False, compare=False)
    _kept: dict[str, Tensor] = field(default_factory=dict, repr=False, compare=False)

    @property
    def spectrum(self) -> Tensor:
        """U^T y for a spectral operator; computed once an image, as y does not change."""
        if "U^T y" not in self._kept:
            known = self._known.of(len(self.y))
            new = torch.tensor([i for i, own in enumerate(known) if "U^T y" not in own], dtype=torch.int64)
            if len(new):
                operator = self.operator if len(new) == len(known) else self.operator.select(new)
                assert isinstance(operator, Spectral)
                with only(new):
                    found = operator.measured_to_spectrum(self.y[new])
                for i, own in zip(new.tolist(), found, strict=True):
                    known[i]["U^T y"] = own
            self._kept["U^T y"] = torch.stack([own["U^T y"] for own in known])
        return self._kept["U^T y"]

    def variance_at(self, mean: Tensor) -> Tensor:
        """Variance of every entry if A(x) = mean: noise_std^2 + gain max(mean - black, gain), broadcastable to y.

        Unlike `variance`, which takes y for its own mean, it does not favour the entries that came out too dark.
        """
        if self.gain is None:
            return self.variance
        gain, black = expand(self.gain, mean), 0 if self.black is None else self.black
        return expand(self.noise_std**2, mean) + gain * torch.maximum(mean - black, gain)

    def residual(self, x0: Tensor) -> Tensor:
        """y - A(x_0)."""
        return self.y - self.operator(x0)

    def select(self, index: Tensor) -> Observation:
        """The observation of images `index` of the batch."""
        return Observation(
            self.y[index],
            self.operator.select(index),
            self.noise_std[index],
            self.variance[index],
            None if self.gain is None else self.gain[index],
            None if self.black is None else self.black[index],
            None if self.problem is None else self.problem.select(index),
            self.memory.select(index, len(self.y)),
            self._known.select(index, len(self.y)),
        )

    @classmethod
    def gather(cls, sources: Sequence[Source]) -> Observation:
        """One observation of images that were observed apart: each is (the observation that it is in, its place there).

        They must be of one kind: y of one shape, dtype and device, and all or none with Poisson noise.
        """
        first = sources[0][0]
        if all(whole is first for whole, _ in sources):
            places = [place for _, place in sources]
            return first if places == list(range(len(first.y))) else first.select(torch.tensor(places))
        places, wholes = [place for _, place in sources], [whole for whole, _ in sources]
        problems = [whole.problem for whole in wholes if whole.problem is not None]
        problem = Problem.gather(list(zip(problems, places, strict=True))) if len(problems) == len(wholes) else None
        return cls(
            torch.stack([whole.y[i] for whole, i in sources]),
            _together(wholes, places, problem),
            torch.stack([whole.noise_std[i] for whole, i in sources]),
            torch.stack([whole.variance[i] for whole, i in sources]),
            _stacked([whole.gain for whole in wholes], places),
            _stacked([whole.black for whole in wholes], places),
            problem,
            Memory([whole.memory.of(len(whole.y))[i] for whole, i in sources]),
            Memory([whole._known.of(len(whole.y))[i] for whole, i in sources]),
        )


Source = tuple[Observation, int]


def _together(wholes: Sequence[Observation], places: Sequence[int], problem: Problem | None) -> Operator:
    """The operator of images that were observed apart; a decoder that they share decodes all of them at once."""
    operators = [whole.operator for whole in wholes]
    if problem is None:
        return each(operators, places)
    inner = [None if whole.problem is None else whole.problem.operator for whole in wholes]
    if all(operator is own for operator, own in zip(operators, inner, strict=True)):
        return problem.operator
    first = operators[0]
    if isinstance(first, Decoded) and all(
        isinstance(operator, Decoded)
        and (operator.operator, operator.codec, operator.scale) == (own, first.codec, first.scale)
        for operator, own in zip(operators, inner, strict=True)
    ):
        return Decoded(problem.operator, first.codec, first.scale)
    return each(operators, places)


def _stacked(values: Sequence[Tensor | None], places: Sequence[int]) -> Tensor | None:
    present = [value[i] for value, i in zip(values, places, strict=True) if value is not None]
    return torch.stack(present) if len(present) == len(values) else None
