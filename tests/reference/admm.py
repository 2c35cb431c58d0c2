"""Without diffusion: plug-and-play ADMM (Venkatakrishnan et al., 2013) and total variation by proximal ADMM."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.reference.symbols import Map, per_image


def pnp_admm(denoise: Map, solve: Map, Aty: Tensor, x: Tensor, rho: float | Tensor, iterations: int) -> Tensor:
    """x = argmin 1/2 ||y - A x||^2 + rho/2 ||x - (z - u)||^2, z = D(x + u), u = u + x - z; from z = x, u = 0.

    Args:
        denoise: D.
        solve: r -> (A^T A + rho I)^{-1} r.
        Aty: A^T y.
        x: where to begin.
        rho: the penalty, one an image.
        iterations: how many.
    """
    rho = per_image(rho, x)
    z, u = x, torch.zeros_like(x)
    for _ in range(iterations):
        x = solve(Aty + rho * (z - u))
        z = denoise(x + u)
        u = u + x - z
    return z


def admm_tv(
    A: Map, At: Map, y: Tensor, x: Tensor, lam: float, rho: float, iterations: int, inner: int, tol: float
) -> Tensor:
    """min 1/2 ||y - A x||^2 + lam ||D x||_{2,1} with w = D x, scaled multiplier u; one image (1, c, h, w).

    The x-update solves (A^T A + rho D^T D) x = A^T y + rho D^T (w - u) by at most `inner` conjugate gradient iterations
    from the last x, to a relative residual of `tol`.
    """
    w, u = differences(x), torch.zeros_like(differences(x))
    for _ in range(iterations):
        r = At(y) + rho * transposed(w - u) - At(A(x)) - rho * transposed(differences(x))
        p, rr = r.clone(), float((r * r).sum())
        goal = tol**2 * rr
        for _ in range(inner):
            if rr <= goal:
                break
            q = At(A(p)) + rho * transposed(differences(p))
            step = rr / float((p * q).sum())
            x, r = x + step * p, r - step * q
            rr, last = float((r * r).sum()), rr
            p = r + rr / last * p
        w = shrink(differences(x) + u, lam / rho)
        u = u + differences(x) - w
    return x


def differences(x: Tensor) -> Tensor:
    """D x: forward differences down and right, 0 at the far edge (append = 0): (b, c, 2, h, w)."""
    down = torch.cat([x[..., 1:, :] - x[..., :-1, :], torch.zeros_like(x[..., :1, :])], dim=-2)
    right = torch.cat([x[..., :, 1:] - x[..., :, :-1], torch.zeros_like(x[..., :, :1])], dim=-1)
    return torch.stack([down, right], dim=2)


def transposed(d: Tensor) -> Tensor:
    """D^T d, by automatic differentiation of <D x, d>."""
    with torch.enable_grad():
        x = torch.zeros_like(d[:, :, 0]).requires_grad_()
        (back,) = torch.autograd.grad((differences(x) * d).sum(), x)
    return back


def shrink(d: Tensor, threshold: float) -> Tensor:
    """The proximal map of threshold * sum_i sqrt(sum_j d_ij^2), j over the two directions."""
    length = d.pow(2).sum(2, keepdim=True).sqrt()
    return torch.where(
        length > threshold, (1 - threshold / torch.where(length > 0, length, 1)) * d, torch.zeros_like(d)
    )
