"""ReSample: Song et al., ICLR 2024, Algorithm 1; and the published sampler, which differs from it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tests.reference.symbols import Draw, Eps, Map, descending, f0, level


def adamw(misfit: Map, x: Tensor, steps: int, lr: float, goal: Tensor, window: int | None = None) -> Tensor:
    """torch's own AdamW, one image at a time, with the code's two ways to stop."""
    found = []
    for b in range(len(x)):
        v = x[b : b + 1].clone().requires_grad_()
        optimiser, losses = torch.optim.AdamW([v], lr=lr), []
        for iteration in range(steps):
            optimiser.zero_grad()
            loss = misfit(v, b)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
            if window is not None and iteration >= window and losses[0] < losses[-1]:
                break
            if window is not None and iteration >= window:
                losses.pop(0)
            if losses[-1] < goal[b]:
                break
        found.append(v.detach())
    return torch.cat(found)


def algorithm_1(
    eps: Eps,
    abar: Tensor,
    timesteps: Sequence[int],
    z: Tensor,
    y: Tensor,
    A: Map,
    decode: Map,
    encode: Map,
    draw: Draw,
    *,
    sigma: Tensor,
    every: int,
    gamma: float,
    steps: tuple[int, int],
    encoding: bool = False,
) -> Tensor:
    """DDIM; below two thirds of the way z0 is made consistent at every k-th step, on pixels first, then on latents."""

    def pixels(v: Tensor, b: int) -> Tensor:
        return (y[b : b + 1] - A(v)).square().mean()

    def latents(q: Tensor, b: int) -> Tensor:
        return (y[b : b + 1] - A(decode(q))).square().mean()

    T, total = len(abar), len(timesteps)
    for k, (i, j) in enumerate(descending(timesteps)):
        a, b = level(abar, i), level(abar, j)
        e = eps(z, i)
        z0 = f0(z, e, a)
        z = b**0.5 * z0 + (1 - b) ** 0.5 * e
        left = total - 1 - k
        if left == 0 or left % every or i + 1 > 2 * T / 3:
            continue
        if i + 1 > T / 3:
            z0y = encode(adamw(pixels, decode(z0), steps[0], 1e-2, sigma**2))
        else:
            z0y = adamw(latents, z0, steps[1], 5e-3, sigma**2)
        n = draw(k, "resample", z)
        if encoding:
            z = b**0.5 * z0y + (1 - b) ** 0.5 * n
            continue
        v = gamma * (1 - b) / a * (1 - a / b)
        z = (v * b**0.5 * z0y + (1 - b) * z) / (v + 1 - b) + (v * (1 - b) / (v + 1 - b)) ** 0.5 * n
    return z


def released(
    eps: Eps,
    abar: Tensor,
    S: int,
    z: Tensor,
    y: Tensor,
    A: Map,
    decode: Map,
    encode: Map,
    draw: Draw,
    *,
    steps: tuple[int, int],
    gamma: float = 40.0,
    eta_dps: float = 0.5,
) -> Tensor:
    """The published sampler at batch size 1, image by image: times, alphas and estimates as its code has them."""

    def pixels(v: Tensor, _: int) -> Tensor:
        return (y - A(v)).square().mean()

    def latents(q: Tensor, _: int) -> Tensor:
        return (y - A(decode(q))).square().mean()

    tau = [i + 1 for i in range(0, len(abar), len(abar) // S)]
    alphas = [float(abar[i]) for i in tau]
    before = [float(abar[0]), *alphas[:-1]]
    goal = torch.full((len(z),), 1e-6, dtype=torch.float64)
    for i in range(S - 1, -1, -1):
        a, b = alphas[i], before[i]
        e = eps(z, tau[i])
        out = b**0.5 * f0(z, e, a) + (1 - b) ** 0.5 * e
        leaf = z.clone().requires_grad_()
        pseudo = (leaf - (1 - a) * e) / a**0.5
        (gradient,) = torch.autograd.grad(torch.linalg.norm(y - A(decode(pseudo))), leaf)
        z, pseudo = out - eta_dps * a * gradient, pseudo.detach()
        if i > S - S // 3 or i == 0 or i % 10:
            continue
        x_t = z
        it = S - 1 - i
        for k in range(it, min(it + 5, S - 1)):
            index = S - 1 - k
            a_k, b_k = alphas[index], before[index]
            e = eps(z, tau[index - 1])
            pseudo = (z - (1 - a_k) * e) / a_k**0.5
            z = b_k**0.5 * f0(z, e, a_k) + (1 - b_k) ** 0.5 * e
        v = gamma * (1 - b) / (1 - a) * (1 - a / b)
        if i >= S // 3:
            z0 = encode(adamw(pixels, decode(pseudo), steps[0], 1e-2, goal))
        else:
            z0 = adamw(latents, pseudo, steps[1], 5e-3, goal, window=200)
        n = draw(S - 1 - i, "resample", z)
        z = (v * b**0.5 * z0 + (1 - b) * x_t) / (v + 1 - b) + n * (1 / (1 / v + 1 / (1 - b))) ** 0.5
    return adamw(latents, z, steps[1], 5e-3, goal, window=200)
