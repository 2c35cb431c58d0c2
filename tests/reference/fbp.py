"""Filtered back-projection, Kak and Slaney 1988, (3.61) to (3.69); CGLS, Björck 1996, algorithm 7.4.1."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tests.reference.symbols import Map


def fbp(p: Tensor, At: Map, span: float, tau: float, unit: float, window: str) -> Tensor:
    """Sums over the detector, not transforms. `At` spreads the values of cells tau wide over their beams / tau.

    q(n tau) = tau sum_k h((n - k) tau) p(k tau),   f(x, y) = (span / K) sum_i q_i(x cos theta_i + y sin theta_i)

    Args:
        p: (b, c, K, N), lengths in `unit` pixels; `At` has the same unit.
        At: the adjoint.
        span: in radians, at most pi.
        tau: spacing of the cells.
        unit: one pixel in the unit of p.
        window: "ramp" or "hann"; the latter averages three neighbours of a fully sampled row.
    """
    n = p.shape[-1]
    h = torch.zeros(2 * n + 1, dtype=p.dtype)  # h[k + n] = h(k tau)
    for k in range(-n, n + 1):
        h[k + n] = 1 / (4 * tau**2) if k == 0 else -1 / (math.pi * k * tau) ** 2 if k % 2 else 0.0
    if window == "hann":
        h[1:-1] = 0.5 * h[1:-1] + 0.25 * (h[:-2] + h[2:])
    q = torch.zeros_like(p)
    for i in range(n):
        for k in range(n):
            q[..., i] += tau * h[i - k + n] * p[..., k] / unit
    return span / p.shape[-2] * tau * At(q) / unit


def cgls(A: Map, At: Map, b: Tensor, iterations: int) -> Tensor:
    """min |A x - b| from x = 0, one image."""
    r = b
    s = p = At(r)
    x = torch.zeros_like(s)
    gamma = (s * s).sum()
    for _ in range(iterations):
        q = A(p)
        alpha = gamma / (q * q).sum()
        x = x + alpha * p
        r = r - alpha * q
        s = At(r)
        gamma, before = (s * s).sum(), gamma
        p = s + gamma / before * p
    return x
