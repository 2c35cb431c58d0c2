"""The same prior with a decoder that is differentiable as it is, for methods that optimise through it."""

from __future__ import annotations

from copy import copy

from pellucid.prior.base import Prior


def smooth(prior: Prior) -> Prior:
    """The prior with `codec.smooth()`: without the code book of a vector-quantised autoencoder.

    Through a code book D(z) is constant but for jumps, and its gradient is made up (straight through): no line search
    or quasi-Newton model holds there.
    """
    codec = prior.codec.smooth()
    if codec is prior.codec:
        return prior
    other = copy(prior)
    other.codec = codec
    return other
