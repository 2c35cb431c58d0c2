"""Our prior as a function (x_0 + sigma n, sigma) -> E[x_0 | ...], counted wherever another library calls it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pellucid.account import count_nfe, count_vjp
from pellucid.prior.base import Prior
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.process import VE

LOWEST = 0.01  # noise level on [-1, 1] that networks have seen; some samplers ask for 0 in their last call


class Network:
    """E[x_0 | x_0 + sigma n] in the prior's space, at any sigma, differentiable once.

    Every call counts as one network call, and every pass backwards through its result as one vector-Jacobian product,
    in the account of `pellucid.account.counting`, as calls of our own methods do.

    Args:
        prior: a network that predicts as "denoiser", or an exact Gaussian.
    """

    def __init__(self, prior: Prior) -> None:
        self.codec = prior.codec
        self.twin = copy.copy(prior)
        self.twin.process = VE(sigma_max=1e4)
        self.lowest = LOWEST if isinstance(prior, DiffusionPrior) else 0.0

    def __call__(self, z: Tensor, sigma: Tensor | float) -> Tensor:
        """E[x_0 | z] for z (b, ...) and noise levels of one number or (b,)."""
        level = torch.as_tensor(sigma, dtype=torch.float64).detach().flatten().expand(len(z)).clamp(min=self.lowest)
        if torch.is_grad_enabled() and z.requires_grad:
            mean: Tensor = Opaque.apply(z, lambda x: self._denoise(x, level), Graph())
            return mean
        with torch.no_grad():
            return self._denoise(z, level)

    def _denoise(self, z: Tensor, level: Tensor) -> Tensor:
        count_nfe()
        return self.twin._denoise(z, level)[0]


class Graph:
    """Where a call keeps its input and output for the way back; no container that torch would copy."""

    leaf: Tensor
    out: Tensor


class Opaque(torch.autograd.Function):
    """A function whose gradient is plain autograd's, counted.

    `torch.func.vjp`, which deepinv uses, sees no operation inside of it: our counters work in place, which it forbids.
    """

    @staticmethod
    def forward(x: Tensor, function: Callable[[Tensor], Tensor], graph: Graph) -> Tensor:
        with torch.enable_grad():
            graph.leaf = x.detach().requires_grad_()
            graph.out = function(graph.leaf)
        return graph.out.detach()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.graph = inputs[2]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        count_vjp()
        leaf, out = ctx.graph.leaf, ctx.graph.out
        (result,) = torch.autograd.grad(out, leaf, gradient.to(out.dtype), retain_graph=True)
        return result, None, None
