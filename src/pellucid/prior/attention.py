"""Attention injection: maps seen at a time on the way up are used again at that time on the way down.

Liu et al., Accelerating Diffusion Models for Inverse Problems through Shortcut Sampling, arXiv version 1.
"""

from __future__ import annotations

from collections import Counter

from torch import Tensor, nn

from pellucid.errors import CompatibilityError
from pellucid.nn.unet import Attention
from pellucid.prior.base import Prior
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.typing import Shape


class AttentionInjection(Prior):
    """A prior for one run, around a network with attention: the first visit to a time records, the second replays.

    Only times that are visited twice replay anything, so a grid must pass through the times that it shares with the way
    up (`grid.Through`). Queries and keys are then the recorded ones' by way of their map, values are computed anew.

    Args:
        prior: around a network with `Attention` layers.
        points: how many of the latest recorded times are kept.

    Raises:
        CompatibilityError: the prior has no network, or the network no attention layer that can be tapped.
    """

    remembers = True

    def __init__(self, prior: Prior, points: int) -> None:
        if not isinstance(prior, DiffusionPrior) or not isinstance(prior.network, nn.Module):
            raise CompatibilityError("attention injection needs a prior around a network; leave attention=False")
        self.layers = [m for m in prior.network.modules() if isinstance(m, Attention)]
        if not self.layers:
            raise CompatibilityError("this network has no attention layer to inject into; leave attention=False")
        self.prior, self.points = prior, points
        self.process, self.codec = prior.process, prior.codec
        self.learned_variance = prior.learned_variance
        self.memory: dict[tuple[float, ...], list[Tensor]] = {}
        self.highest: tuple[float, ...] = ()
        self.replays: Counter[tuple[float, ...]] = Counter()

    def check(self, image_shape: Shape) -> None:
        self.prior.check(image_shape)

    def _denoise(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor | None]:
        key = tuple(t.tolist())
        recorded = self.memory.pop(key, None)
        maps = [] if recorded is None else recorded
        replaying = recorded is not None
        if replaying:
            self.replays[key] += 1

        def tap(index: int, fresh: Tensor) -> Tensor:
            if replaying:
                return maps[index]
            maps.append(fresh)
            return fresh

        for index, layer in enumerate(self.layers):
            layer.tap = lambda fresh, index=index: tap(index, fresh)
        try:
            out = self.prior._denoise(x, t)
        finally:
            for layer in self.layers:
                layer.tap = None
        if key > self.highest:  # still on the way up, the top itself included, which is never visited again
            self.highest, self.memory[key] = key, maps
            while len(self.memory) > self.points + 1:
                del self.memory[next(iter(self.memory))]
        return out
