"""Images with forward models of their own, in one batch: image i goes through operators[i].

    each([A, B, A])(x) = (A(x_1), B(x_2), A(x_3))

An operator that several images share is called once for all of them. A batch is as capable as the least of its
operators: spectral if all are, linear if all are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pellucid.account import count_operator, uncounted
from pellucid.errors import OperatorError, ShapeError
from pellucid.operators.base import LinearOperator, Operator, Spectral
from pellucid.operators.diagonal import Diagonal
from pellucid.operators.mask import Mask
from pellucid.operators.tomography.geometry import Geometry
from pellucid.typing import Shape, real_dtype

Apply = Callable[[Operator, Tensor], Tensor]

HOUSEKEEPING = {*vars(nn.Module()), "_converted", "_scans"}  # what says nothing about which operator it is


def each(operators: Sequence[Operator], places: Sequence[int] | None = None) -> Operator:
    """The operator of a batch whose image i is measured by operators[i].

    Args:
        operators: one an image; the same object where images share it.
        places: of an operator with parameters per image, which of its images is meant; by default the first.

    Returns:
        The operator itself, or a selection of it, where all are one; one of their kind where all are masks; else an
        `Each`, on the rung of the ladder that all of them reach.

    Raises:
        OperatorError: there is none.
        ShapeError: they take or give tensors of different shapes.
    """
    sources = _flat(operators, places)
    first = sources[0][0]
    if all(operator is first for operator, _ in sources):
        same_batch = first.batch is None or [i for _, i in sources] == list(range(first.batch))
        return first if same_batch else first.select(torch.tensor([i for _, i in sources]))
    if type(first) in (Mask, Diagonal) and all(_stacks(first, operator) for operator, _ in sources):
        assert isinstance(first, Diagonal)
        weights = [operator.get_buffer("weights") for operator, _ in sources]
        rows = [w[i if len(w) > 1 else 0].expand(first.image_shape) for w, (_, i) in zip(weights, sources, strict=True)]
        return type(first)(first.image_shape, torch.stack(rows), rcond=first.rcond)
    for kind, rung in ((Spectral, SpectralEach), (LinearOperator, LinearEach)):
        if all(isinstance(operator, kind) for operator, _ in sources):
            return rung(operators, places)
    return Each(operators, places)


class Each(Operator):
    """Image i goes through operators[i]; `each` makes the most capable kind of it.

    Args:
        operators: one an image, of the same shapes.
        places: see `each`.

    Raises:
        OperatorError, ShapeError: see `each`.
    """

    def __init__(self, operators: Sequence[Operator], places: Sequence[int] | None = None) -> None:
        sources = _flat(operators, places)
        shapes = {(operator.image_shape, operator.measurement_shape) for operator, _ in sources}
        if len(shapes) > 1:
            raise ShapeError(f"operators of one batch must be of the same shapes, not of {_listed(shapes)}")
        ((image_shape, measurement_shape),) = shapes
        super().__init__(image_shape, measurement_shape, len(sources))
        self.sources = sources
        groups: dict[int, list[int]] = {}
        for i, (operator, _) in enumerate(sources):
            groups.setdefault(id(operator), []).append(i)
        self.images = [torch.tensor(images) for images in groups.values()]
        self.order = torch.cat(self.images).argsort()
        for k, images in enumerate(groups.values()):
            self.add_module(str(k), each([sources[i][0] for i in images], [sources[i][1] for i in images]))

    @property
    def parts(self) -> list[Operator]:
        """The distinct operators; the k-th is that of images `images[k]`."""
        return [part for part in self._modules.values() if isinstance(part, Operator)]

    def select(self, index: Tensor) -> Operator:
        chosen = [self.sources[i] for i in torch.arange(len(self.sources))[index.cpu()].tolist()]
        return each([operator for operator, _ in chosen], [place for _, place in chosen])

    def _forward(self, x: Tensor) -> Tensor:
        return self._spread(x, lambda part, own: part._forward(own))

    def _spread(self, x: Tensor, apply: Apply) -> Tensor:
        """Every part's result on its own images, in the order of the batch."""
        results = [apply(part, x[images]) for part, images in zip(self.parts, self.images, strict=True)]
        return torch.cat(results)[self.order]


class LinearEach(Each, LinearOperator):
    """`Each` of linear operators: adjoint, pseudo-inverse and solves are those of every part."""

    def __init__(self, operators: Sequence[Operator], places: Sequence[int] | None = None) -> None:
        super().__init__(operators, places)
        self.iterative_pinv = any(part.iterative_pinv for part in self.linear_parts)

    @property
    def linear_parts(self) -> list[LinearOperator]:
        """The distinct operators."""
        return [_linear(part) for part in self.parts]

    def solve_normal(self, rhs: Tensor, weight: Tensor) -> Tensor:
        """(A^T A + weight I)^{-1} rhs, for every image in its own operator's way."""
        self.require(rhs, self.image_shape, "picture")
        count_operator()
        weights = torch.as_tensor(weight).expand(len(rhs))
        pairs = zip(self.linear_parts, self.images, strict=True)
        with uncounted():
            results = [part.solve_normal(rhs[images], weights[images]) for part, images in pairs]
        return torch.cat(results)[self.order]

    def norm(self, like: Tensor) -> Tensor:
        """The largest singular value of every image, (b,)."""
        self.require(like, self.image_shape, "picture")
        return self._spread(like, lambda part, own: _linear(part).norm(own))

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._spread(y, lambda part, own: _linear(part)._adjoint(own))

    def _pinv(self, y: Tensor) -> Tensor:
        return self._spread(y, lambda part, own: _linear(part)._pinv(own))


class SpectralEach(LinearEach, Spectral):
    """`Each` of spectral operators: every image has its own operator's bases and singular values."""

    def singular_values(self, like: Tensor) -> Tensor:
        """S of every image, (b, *image_shape)."""
        return self._joined([part.singular_values(like) for part in self.spectral_parts])

    def inverse_singular_values(self, like: Tensor) -> Tensor:
        """1 / s where the image's own operator keeps it, 0 elsewhere."""
        key = ("1 / s", real_dtype(like.dtype), like.device)
        if key not in self._converted:
            with torch.inference_mode(False), torch.no_grad():
                inverse = [part.inverse_singular_values(like) for part in self.spectral_parts]
                self._converted[key] = self._joined(inverse)
        return self._converted[key]

    @property
    def spectral_parts(self) -> list[Spectral]:
        """The distinct operators."""
        return [_spectral(part) for part in self.parts]

    def _to_spectrum(self, x: Tensor) -> Tensor:
        return self._spread(x, lambda part, own: _spectral(part)._to_spectrum(own))

    def _from_spectrum(self, c: Tensor) -> Tensor:
        return self._spread(c, lambda part, own: _spectral(part)._from_spectrum(own))

    def _measured_to_spectrum(self, y: Tensor) -> Tensor:
        return self._spread(y, lambda part, own: _spectral(part)._measured_to_spectrum(own))

    def _spectrum_to_measured(self, c: Tensor) -> Tensor:
        return self._spread(c, lambda part, own: _spectral(part)._spectrum_to_measured(own))

    def _joined(self, values: Sequence[Tensor]) -> Tensor:
        """Spectra that every part has for its images, or for all of them alike, as those of the batch."""
        pairs = zip(values, self.images, strict=True)
        return torch.cat([value.expand(len(images), *self.image_shape) for value, images in pairs])[self.order]


def same(first: Operator, second: Operator) -> bool:
    """Whether two operators are known to be one: the same object, or of one type with the same parameters.

    False where it cannot be told, for a parameter that is neither a buffer nor plain data.
    """
    if first is second:
        return True
    if type(first) is not type(second) or first.batch != second.batch:
        return False
    one, other = ({k: v for k, v in vars(a).items() if k not in HOUSEKEEPING} for a in (first, second))
    if one.keys() != other.keys() or not all(_alike(one[name], other[name]) for name in one):
        return False
    held, also = (a.state_dict() for a in (first, second))
    if held.keys() != also.keys() or not all(_equal(held[name], also[name]) for name in held):
        return False
    parts, others = dict(first.named_children()), dict(second.named_children())
    return parts.keys() == others.keys() and all(
        part is others[name] or (isinstance(part, Operator) and same(part, others[name]))  # type: ignore[arg-type]
        for name, part in parts.items()
    )


def _alike(one: object, other: object) -> bool:
    """Whether two values are one, or plain data that are equal."""
    plain = isinstance(one, (int, float, str, tuple, frozenset, Geometry))
    return one is other or (plain and type(one) is type(other) and bool(one == other))


def _equal(one: object, other: object) -> bool:
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return one is other
    return one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)


def _flat(operators: Sequence[Operator], places: Sequence[int] | None) -> list[tuple[Operator, int]]:
    """Every image's operator and its place there, those of an `Each` being its parts'."""
    if not operators:
        raise OperatorError("a batch without images has no operator")
    sources: list[tuple[Operator, int]] = []
    for operator, place in zip(operators, places or [0] * len(operators), strict=True):
        if isinstance(operator, Each):
            sources.append(operator.sources[place])
        else:
            sources.append((operator, 0 if operator.batch is None else place))
    return sources


def _stacks(first: Operator, other: Operator) -> bool:
    """Whether two masks are rows of one."""
    alike = type(other) is type(first) and other.image_shape == first.image_shape
    return alike and isinstance(first, Spectral) and isinstance(other, Spectral) and first.rcond == other.rcond


def _linear(part: Operator) -> LinearOperator:
    assert isinstance(part, LinearOperator)
    return part


def _spectral(part: Operator) -> Spectral:
    assert isinstance(part, Spectral)
    return part


def _listed(shapes: set[tuple[Shape, Shape]]) -> str:
    return " and ".join(f"{taken} to {given}" for taken, given in sorted(shapes))
