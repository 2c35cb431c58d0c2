"""Attention with a learned bias, trained on a CPU without large intermediate results.

torch's fused attention on the CPU has no gradient for the bias and falls back to separate products, which keep every
attention map for the backward pass. Here none is kept: the backward pass makes the maps again, a cache-sized piece at a
time. A training step of a light SwinIR is a sixth faster so in bfloat16, and a tenth slower in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

PIECE = 2**18  # entries of attention maps that are worked on at a time: 1 MB in float32


def biased_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v.

    Args:
        q, k, v: (b, heads, n, d).
        bias: (1, heads, n, n).

    Returns:
        (b, heads, n, d).
    """
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    if torch.is_grad_enabled() and any(part.requires_grad for part in (q, k, v, bias)):
        out: Tensor = _Biased.apply(q, k, v, bias)  # type: ignore[no-untyped-call]
        return out
    return _attend(q, k, v, bias)


class _Biased(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(q, k, v, bias)
        return _attend(q, k, v, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        q, k, v, bias = ctx.saved_tensors
        scale = q.shape[-1] ** -0.5
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        dbias = torch.zeros(bias.shape, dtype=torch.float32 if bias.dtype.itemsize < 4 else bias.dtype)
        for piece, heads in _pieces(q):
            qp, kp, vp, gp = (part[piece, heads] for part in (q, k, v, grad))
            p = torch.softmax((qp * scale) @ kp.transpose(-1, -2) + bias[:, heads], dim=-1)
            dv[piece, heads] = p.transpose(-1, -2) @ gp
            dp = gp @ vp.transpose(-1, -2)
            ds = torch.ops.aten._softmax_backward_data(dp, p, -1, p.dtype)
            dq[piece, heads] = (ds @ kp) * scale
            dk[piece, heads] = (ds.transpose(-1, -2) @ qp) * scale
            dbias[:, heads] += ds.sum(0, keepdim=True, dtype=dbias.dtype)
        return dq, dk, dv, dbias.to(bias.dtype)


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """The fused kernel; in half precision pieces, which the CPU multiplies twice as fast as the kernel does."""
    if q.dtype.itemsize >= 4:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    out, scale = torch.empty_like(q), q.shape[-1] ** -0.5
    for piece, heads in _pieces(q):
        maps = (q[piece, heads] * scale) @ k[piece, heads].transpose(-1, -2) + bias[:, heads]
        out[piece, heads] = torch.softmax(maps, dim=-1) @ v[piece, heads]
    return out


def _pieces(q: Tensor) -> Iterator[tuple[slice, slice]]:
    """Slices of images and of heads that cover q, each with at most `PIECE` entries of maps, or one map."""
    b, heads, n, _ = q.shape
    many = max(1, min(heads, PIECE // n**2))
    images = max(1, PIECE // (many * n**2))
    for i in range(0, b, images):
        for h in range(0, heads, many):
            yield slice(i, i + images), slice(h, h + many)
