"""One picture of a restoration: its problem, the method for it, and what it will take."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.account import uncounted
from pellucid.cli.settings import Setup
from pellucid.images.picture import Picture
from pellucid.method import Method
from pellucid.methods import Preset
from pellucid.operators.base import Operator
from pellucid.prior.base import Prior, State
from pellucid.prior.tiled import TiledPrior, tiled
from pellucid.problem import Problem

AT_ONCE = 2**19  # pixels in a batch of samples


@dataclass(frozen=True)
class Case:
    """A picture that is ready to be restored.

    Attributes:
        setup: what was asked for.
        picture: the measurement, reduced if that was asked for.
        operator, preset, method, prior: made for it.
    """

    setup: Setup
    picture: Picture
    operator: Operator
    preset: Preset
    method: Method
    prior: Prior

    @classmethod
    def make(cls, setup: Setup, picture: Picture) -> Case:
        """Builds all parts and refuses what does not fit.

        Raises:
            PellucidError: of the kind that says what does not.
        """
        request = setup.request
        if request.max_side and picture.is_image:
            picture = picture.at_most(request.max_side)
        shape = setup.shape or setup.spec.image_shape_for(tuple(picture.pixels.shape))
        operator = setup.spec.build(shape)
        preset = setup.preset_for(operator)
        method = preset.build(request.nfe, operator, **setup.options)
        case = cls(setup, picture, operator, preset, method, tiled(setup.prior, shape))
        method.check(case.problem(1), case.prior)
        return case

    @property
    def tiles(self) -> int:
        """How many tiles the prior sees the picture in; 1 for the whole."""
        height, width = self.operator.image_shape[-2:]
        return len(self.prior.boxes(height, width)) if isinstance(self.prior, TiledPrior) else 1

    @property
    def at_once(self) -> int:
        """How many samples are drawn together: small pictures in batches, large ones one by one."""
        height, width = self.operator.image_shape[-2:]
        return max(1, min(self.setup.request.samples, AT_ONCE // (height * width)))

    def problem(self, copies: int) -> Problem:
        """The measurement, once for every sample drawn together."""
        y = self.picture.pixels[None].expand(copies, *self.picture.pixels.shape).to(self.setup.device)
        return Problem(y, self.operator, self.setup.request.noise)

    def call_seconds(self) -> float:
        """How long one network call on this picture takes: measured, on one tile of a large one."""
        side = self.prior.tile if isinstance(self.prior, TiledPrior) else 10**9
        prior = self.prior.prior if isinstance(self.prior, TiledPrior) else self.prior
        channels, height, width = prior.codec.shape(self.operator.image_shape)
        x = torch.zeros(1, channels, min(height, side), min(width, side), device=self.setup.device)
        once = _seconds(prior, x)
        # The first call of a network is slower; where it was short, a second one tells the truth.
        return (_seconds(prior, x) if once < 2 else once) * self.tiles

    def predicted_seconds(self) -> float:
        """All network calls of all samples, and their vector-Jacobian products, which cost about two calls each."""
        calls = self.setup.request.nfe or self.preset.default_nfe or 0
        each = self.call_seconds() * (3 if self.method.consistency.needs_vjp else 1)
        return calls * each * self.setup.request.samples if calls else 0.0


def _seconds(prior: Prior, x: Tensor) -> float:
    middle = torch.full((1,), prior.process.t_max / 2, dtype=torch.float64)
    began = time.perf_counter()
    with uncounted():
        estimate = prior.estimate(State(x, middle))
        float(estimate.x0.sum())  # waits for a GPU
    return time.perf_counter() - began
