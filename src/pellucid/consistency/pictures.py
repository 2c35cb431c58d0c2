"""The problem on pictures in [0, 1], for methods that decode and work there, whatever the prior's space is."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.codec import AffineCodec, Codec
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
        problem.y, problem.operator, problem.std, problem.variance, gain if gain.any() else None, problem=problem
    )


def squared_norm(observation: Observation, operator: LinearOperator) -> Tensor:
    """|A|^2 of every image, (b,), for the observation's A, which a codec leaves as it is; computed once."""
    if "|A|^2" not in observation._kept:
        like = observation.y.new_zeros(len(observation.y), *operator.image_shape)
        observation._kept["|A|^2"] = operator.norm(like) ** 2
    return observation._kept["|A|^2"]


def network_units(codec: Codec) -> float:
    """Units of the network's range in one unit of pictures: 2 for [-1, 1], which autoencoders work in as well."""
    return codec.scale if isinstance(codec, AffineCodec) else 2.0
