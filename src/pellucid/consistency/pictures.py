"""The problem on pictures in [0, 1], for methods that decode and work there, whatever the prior's space is."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.codec import AffineCodec, Codec
from pellucid.consistency.proximal import noise_level, reading_scale
from pellucid.errors import CompatibilityError
from pellucid.operators.base import LinearOperator
from pellucid.problem import Observation


def on_pictures(observation: Observation) -> Observation:
    """The observation in the units of pictures in [0, 1]: y, A and the noise as the user gave them.

    Raises:
        CompatibilityError: the prior's codec does not say which problem the observation is of.
    """
    problem = observation.problem
    if problem is None:
        raise CompatibilityError("this method works on pictures, and the codec's observation does not hold its problem")
    gain = torch.as_tensor(problem.gain, dtype=torch.float64).expand(len(problem.y))
    return Observation(
        problem.y,
        problem.operator,
        problem.std,
        problem.variance,
        gain if gain.any() else None,
        problem=problem,
        memory=observation.memory,
    )


def squared_norm(observation: Observation, operator: LinearOperator) -> Tensor:
    """|A|^2 of every image, (b,), for the observation's A, which a codec leaves as it is; computed once in a run."""
    y, memory = observation.y, observation.memory
    square, known = memory.get("|A|^2", y.new_zeros(len(y), 2)).unbind(1)
    new = (known == 0).nonzero().flatten().cpu()
    if not len(new):
        return square
    of_new = operator if len(new) == len(y) else operator.select(new)
    assert isinstance(of_new, LinearOperator)
    found = of_new.norm(y.new_zeros(len(new), *operator.image_shape)) ** 2
    square = square.index_copy(0, new.to(square.device), found.to(square))
    memory.put("|A|^2", torch.stack([square, torch.ones_like(square)], 1))
    return square


def network_units(codec: Codec) -> float:
    """Units of the network's range in one unit of pictures: 2 for [-1, 1], which autoencoders work in as well."""
    return codec.scale if isinstance(codec, AffineCodec) else 2.0


def measured_units(codec: Codec) -> float:
    """Units of an observation's y in one unit of the problem's: autoencoders leave y as it is."""
    return codec.scale if isinstance(codec, AffineCodec) else 1.0


def believed_noise(observation: Observation, codec: Codec, floor: float) -> tuple[Tensor, float]:
    """(sigma_y of every image, at least `floor`, (b,), in the observation's units; these units in one of pictures).

    `floor` is in [0, 1] units, and for a sinogram in pixel lengths, whatever its unit.
    """
    units = measured_units(codec) * reading_scale(on_pictures(observation).operator)[0]
    return noise_level(observation).clamp(min=floor * units), units
