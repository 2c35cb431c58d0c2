"""The prior: E[x_0 | x_t], with its process and its codec."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from pellucid.account import Cost, count_nfe, count_vjp
from pellucid.codec import Codec
from pellucid.noise import Index
from pellucid.process import Process
from pellucid.typing import Shape


@dataclass(frozen=True)
class State:
    """A batch on its way.

    Attributes:
        x: (b, ...) in the prior's space.
        t: (b,) float64, on the CPU; every image may be at its own time.
        index: which step of the grid this is, from 0; one an image, (b,), where images are at different ones.
        images: their numbers in the batch of `reconstruct` or in a `stream`, (b,); None: all of them, in order.
    """

    x: Tensor
    t: Tensor
    index: Index = 0
    images: Tensor | None = None

    def select(self, chosen: Tensor) -> State:
        """The state of images `chosen` of the batch."""
        index = self.index if isinstance(self.index, int) else self.index[chosen]
        images = None if self.images is None else self.images[chosen]
        return State(self.x[chosen], self.t[chosen], index, images)


@dataclass(frozen=True)
class Estimate:
    """What a prior says about x_t.

    Attributes:
        x0: E[x_0 | x_t], (b, ...).
        eps: the noise that goes with it; (x_t - M_t(x0)) / sigma_t unless a method keeps an older one on purpose.
        mix: learned variance as the share f of ln beta_t in ln var = f ln beta_t + (1 - f) ln betatilde_t
            (Nichol and Dhariwal, 2021, eq. 15), (b, ...); None where the prior has none.
        vjp: v -> (d x0 / d x_t)^T v, (b, ...) -> (b, ...); None unless the estimate was asked for as differentiable.
        rate: how fast M_t(x_0) moves towards x_0 as t falls, -dM_t(x_0)/dt, (b, ...); None where no network tells it.
    """

    x0: Tensor
    eps: Tensor
    mix: Tensor | None = None
    vjp: Callable[[Tensor], Tensor] | None = None
    rate: Tensor | None = None

    def clipped(self, bounds: tuple[float, float], state: State, process: Process, eps: Clip) -> Estimate:
        """x0 within bounds; eps kept or recomputed; the vjp goes through the clipping."""
        x0 = self.x0.clamp(*bounds)
        inner, inside = self.vjp, (self.x0 == x0).to(x0.dtype)
        return replace(
            self,
            x0=x0,
            eps=process.eps(state.x, x0, state.t) if eps == "recompute" else self.eps,
            vjp=None if inner is None else lambda v: inner(v * inside),
        )

    def select(self, chosen: Tensor) -> Estimate:
        """The estimate of images `chosen` of the batch; its vjp goes through the graph of all of them."""
        inner, whole = self.vjp, self.x0

        def vjp(v: Tensor) -> Tensor:
            assert inner is not None
            place = chosen.to(v.device)
            return inner(v.new_zeros(whole.shape).index_copy(0, place, v))[place]

        mix, rate = (None if part is None else part[chosen] for part in (self.mix, self.rate))
        return Estimate(self.x0[chosen], self.eps[chosen], mix, None if inner is None else vjp, rate)


Clip = Literal["no", "keep", "recompute"]


class Prior(ABC):
    """E[x_0 | x_t] for a process and a codec. Subclasses write `_denoise`.

    Attributes:
        process: the forward process that x_t comes from.
        codec: between pictures in [0, 1] and the space of x.
        learned_variance: whether estimates carry `mix`.
        costs: what adapting it to a picture took: one for all images, or one an image; none where it is as it was.
        own_images: whether image i of a batch is seen by a part of its own, so that all are to be reconstructed in one.
        remembers: whether an estimate depends on those that the same batch of images was given before.
    """

    process: Process
    codec: Codec
    learned_variance: bool = False
    remembers: bool = False
    costs: tuple[Cost, ...] = ()
    own_images: bool = False

    def estimate(self, state: State, *, differentiable: bool = False) -> Estimate:
        """One network pass, counted as one NFE an image; `differentiable` keeps what one vjp needs."""
        count_nfe()
        if not differentiable:
            with torch.no_grad():
                x0, mix = self._denoise(state.x, state.t)
            return Estimate(x0, self.process.eps(state.x, x0, state.t), mix)
        with torch.enable_grad():
            x = state.x.detach().requires_grad_()
            x0, mix = self._denoise(x, state.t)

        def vjp(v: Tensor) -> Tensor:
            count_vjp()
            (gradient,) = torch.autograd.grad(x0, x, v.to(x0.dtype), retain_graph=True)
            return gradient

        value = x0.detach()
        return Estimate(value, self.process.eps(state.x, value, state.t), None if mix is None else mix.detach(), vjp)

    @abstractmethod
    def _denoise(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor | None]:
        """(E[x_0 | x_t = x], variance mix or None), differentiable in x."""

    def check(self, image_shape: Shape) -> None:
        """Raises `ShapeError` where pictures of that shape cannot be given to this prior. By default all can."""
