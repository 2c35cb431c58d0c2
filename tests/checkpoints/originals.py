"""The published networks once more, as functions of their state dicts, written from their papers' descriptions.

A state dict with the original names is all they need: what the names say is what is run. They are checked against the
recorded outputs where those are there, and say what the converted networks must give where they are not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]


def random_weights(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> Weights:
    """Weights that keep activations near 1: matrices over the root of what they sum over, scales around 1."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for key, shape in shapes.items():
        fan = math.prod(shape[1:]) if len(shape) > 1 else 0
        draw = torch.randn(shape, generator=generator)
        made[key] = draw / math.sqrt(fan) if fan else (0.1 * draw + (1 if key.endswith("weight") else 0))
    if "sigmas" in shapes:
        made["sigmas"] = torch.logspace(2.5, -2, *shapes["sigmas"])
    return made


def conv(w: Weights, name: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = w[f"{name}.weight"]
    return F.conv2d(x, weight, w[f"{name}.bias"], stride=stride, padding=weight.shape[-1] // 2)


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def norm(w: Weights, name: str, x: Tensor, groups: int = 32, eps: float = 1e-5) -> Tensor:
    return F.group_norm(x, groups, w[f"{name}.weight"], w[f"{name}.bias"], eps)


# ADM, and the U-Net of latent diffusion.


def adm_shapes(
    width: int, mult: Sequence[int], blocks: int, attention: Sequence[int], *, out: int, resnet: bool, shift: bool,
    classes: int = 0,
) -> dict[str, tuple[int, ...]]:  # fmt: skip
    """Shapes of the original state dict; `attention` lists the levels that have it."""
    shapes: dict[str, tuple[int, ...]] = {}

    def put(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, (shape[0],)

    def block(name: str, a: int, b: int) -> None:
        put(f"{name}.in_layers.0", a)
        put(f"{name}.in_layers.2", b, a, 3, 3)
        put(f"{name}.emb_layers.1", (1 + shift) * b, 4 * width)
        put(f"{name}.out_layers.0", b)
        put(f"{name}.out_layers.3", b, b, 3, 3)
        if a != b:
            put(f"{name}.skip_connection", b, a, 1, 1)

    def attend(name: str, c: int) -> None:
        put(f"{name}.norm", c)
        put(f"{name}.qkv", 3 * c, c, 1)
        put(f"{name}.proj_out", c, c, 1)

    put("time_embed.0", 4 * width, width)
    put("time_embed.2", 4 * width, 4 * width)
    if classes:
        shapes["label_emb.weight"] = (classes, 4 * width)
    put("input_blocks.0.0", width, 3, 3, 3)
    n, c, skips = 1, width, [width]
    for level, m in enumerate(mult):
        for _ in range(blocks):
            block(f"input_blocks.{n}.0", c, m * width)
            c = m * width
            if level in attention:
                attend(f"input_blocks.{n}.1", c)
            skips.append(c)
            n += 1
        if level < len(mult) - 1:
            block(f"input_blocks.{n}.0", c, c) if resnet else put(f"input_blocks.{n}.0.op", c, c, 3, 3)
            skips.append(c)
            n += 1
    block("middle_block.0", c, c)
    attend("middle_block.1", c)
    block("middle_block.2", c, c)
    n = 0
    for level in reversed(range(len(mult))):
        for r in range(blocks + 1):
            block(f"output_blocks.{n}.0", c + skips.pop(), mult[level] * width)
            c = mult[level] * width
            if level in attention:
                attend(f"output_blocks.{n}.1", c)
            if level and r == blocks:
                last = f"output_blocks.{n}.{1 + (level in attention)}"
                block(last, c, c) if resnet else put(f"{last}.conv", c, c, 3, 3)
            n += 1
    put("out.0", c)
    put("out.2", out, c, 3, 3)
    return shapes


def adm(w: Weights, x: Tensor, t: Tensor, y: Tensor | None = None, *, head: int, new_order: bool = False) -> Tensor:
    """The network of Dhariwal and Nichol (2021)."""
    width = w["time_embed.0.weight"].shape[1]
    frequency = torch.exp(-math.log(10000) * torch.arange(width // 2) / (width // 2))
    angle = t[:, None].float() * frequency
    emb = linear(w, "time_embed.2", F.silu(linear(w, "time_embed.0", torch.cat([angle.cos(), angle.sin()], 1))))
    if y is not None:
        emb = emb + w["label_emb.weight"][y]

    def block(name: str, x: Tensor, size: str = "") -> Tensor:
        def change(v: Tensor) -> Tensor:
            if size == "down":
                return F.avg_pool2d(v, 2)
            return F.interpolate(v, scale_factor=2, mode="nearest") if size == "up" else v

        h = conv(w, f"{name}.in_layers.2", change(F.silu(norm(w, f"{name}.in_layers.0", x))))
        x = change(x)
        e = linear(w, f"{name}.emb_layers.1", F.silu(emb))[:, :, None, None]
        if e.shape[1] == 2 * h.shape[1]:
            scale, shift = e.chunk(2, 1)
            h = norm(w, f"{name}.out_layers.0", h) * (1 + scale) + shift
        else:
            h = norm(w, f"{name}.out_layers.0", h + e)
        h = conv(w, f"{name}.out_layers.3", F.silu(h))
        return h + (conv(w, f"{name}.skip_connection", x) if f"{name}.skip_connection.weight" in w else x)

    def attend(name: str, x: Tensor) -> Tensor:
        b, c, height, wide = x.shape
        flat = norm(w, f"{name}.norm", x).flatten(2)
        qkv = F.conv1d(flat, w[f"{name}.qkv.weight"], w[f"{name}.qkv.bias"])
        if new_order:  # the three first, then heads
            q, k, v = qkv.reshape(b, 3, c // head, head, -1).unbind(1)
        else:  # heads first, then the three
            q, k, v = qkv.reshape(b, c // head, 3, head, -1).unbind(2)
        weight = torch.softmax(torch.einsum("bhct,bhcs->bhts", q, k) / math.sqrt(head), -1)
        out = torch.einsum("bhts,bhcs->bhct", weight, v).reshape(b, c, -1)
        out = F.conv1d(out, w[f"{name}.proj_out.weight"], w[f"{name}.proj_out.bias"])
        return x + out.reshape(b, c, height, wide)

    def run(name: str, x: Tensor, size: str) -> Tensor:
        for child in range(3):
            here = f"{name}.{child}"
            if f"{here}.qkv.weight" in w:
                x = attend(here, x)
            elif f"{here}.op.weight" in w:
                x = conv(w, f"{here}.op", x, stride=2)
            elif f"{here}.conv.weight" in w:
                x = conv(w, f"{here}.conv", F.interpolate(x, scale_factor=2, mode="nearest"))
            elif f"{here}.in_layers.0.weight" in w:
                x = block(here, x, size if (child or size == "down") else "")
        return x

    total = 1 + max(int(key.split(".")[1]) for key in w if key.startswith("input_blocks."))
    grow = [
        n
        for n in range(total)
        if any(f"output_blocks.{n}.{c}.{k}.weight" in w for c in (1, 2) for k in ("conv", "in_layers.0"))
    ]
    period = grow[0] + 1
    h = conv(w, "input_blocks.0.0", x)
    skips = [h]
    for n in range(1, total):
        h = run(f"input_blocks.{n}", h, "down" if n % period == 0 else "")
        skips.append(h)
    h = run("middle_block", h, "")
    for n in range(total):
        h = run(f"output_blocks.{n}", torch.cat([h, skips.pop()], 1), "up" if n in grow else "")
    return conv(w, "out.2", F.silu(norm(w, "out.0", h)))


# NCSN++ with summed pyramids.


def ncsnpp_shapes(width: int, mult: Sequence[int], blocks: int, attention: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Shapes of the original state dict, with the buffer `sigmas`; `attention` lists the levels that have it."""
    shapes: dict[str, tuple[int, ...]] = {"sigmas": (10,), "all_modules.0.W": (width,)}
    number = 1

    def put(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, (shape[0],)

    def plain(*shape: int) -> None:
        nonlocal number
        put(f"all_modules.{number}", *shape)
        number += 1

    def block(a: int, b: int, resized: bool = False) -> None:
        nonlocal number
        name = f"all_modules.{number}"
        put(f"{name}.GroupNorm_0", a)
        put(f"{name}.Conv_0", b, a, 3, 3)
        put(f"{name}.Dense_0", b, 4 * width)
        put(f"{name}.GroupNorm_1", b)
        put(f"{name}.Conv_1", b, b, 3, 3)
        if a != b or resized:
            put(f"{name}.Conv_2", b, a, 1, 1)
        number += 1

    def attend(c: int) -> None:
        nonlocal number
        name = f"all_modules.{number}"
        put(f"{name}.GroupNorm_0", c)
        for k in range(4):
            shapes[f"{name}.NIN_{k}.W"], shapes[f"{name}.NIN_{k}.b"] = (c, c), (c,)
        number += 1

    plain(4 * width, 2 * width)
    plain(4 * width, 4 * width)
    plain(width, 3, 3, 3)
    c, skips = width, [width]
    for level, m in enumerate(mult):
        for _ in range(blocks):
            block(c, m * width)
            c = m * width
            if level in attention:
                attend(c)
            skips.append(c)
        if level < len(mult) - 1:
            block(c, c, resized=True)
            put(f"all_modules.{number}.Conv_0", c, 3, 1, 1)
            number += 1
            skips.append(c)
    block(c, c)
    attend(c)
    block(c, c)
    for level in reversed(range(len(mult))):
        for _ in range(blocks + 1):
            block(c + skips.pop(), mult[level] * width)
            c = mult[level] * width
        if level in attention:
            attend(c)
        plain(c)
        plain(3, c, 3, 3)
        if level:
            block(c, c, resized=True)
    return shapes


def fir(x: Tensor, size: str) -> Tensor:
    """Half or double the size with the filter [1, 3, 3, 1], as StyleGAN2 does."""
    k = torch.tensor([1.0, 3.0, 3.0, 1.0])
    k = torch.outer(k, k) / 64
    b, c, height, width = x.shape
    flat = x.reshape(b * c, 1, height, width)
    if size == "down":
        return F.conv2d(F.pad(flat, (1, 1, 1, 1)), k[None, None], stride=2).reshape(b, c, height // 2, width // 2)
    spread = flat.new_zeros(b * c, 1, 2 * height, 2 * width)
    spread[..., ::2, ::2] = flat
    return F.conv2d(F.pad(spread, (2, 1, 2, 1)), 4 * k[None, None]).reshape(b, c, 2 * height, 2 * width)


def ncsnpp(w: Weights, x: Tensor, sigma: Tensor, mult: Sequence[int], blocks: int, attention: Sequence[int]) -> Tensor:
    """The score of Song et al. (2021) for pictures in [0, 1]."""
    number = 0
    root = math.sqrt(2)

    def take() -> str:
        nonlocal number
        number += 1
        return f"all_modules.{number - 1}"

    def grouped(name: str, x: Tensor) -> Tensor:
        return norm(w, name, x, min(x.shape[1] // 4, 32), 1e-6)

    def block(x: Tensor, size: str = "") -> Tensor:
        name = take()
        h = F.silu(grouped(f"{name}.GroupNorm_0", x))
        if size:
            h, x = fir(h, size), fir(x, size)
        h = conv(w, f"{name}.Conv_0", h) + linear(w, f"{name}.Dense_0", F.silu(emb))[:, :, None, None]
        h = conv(w, f"{name}.Conv_1", F.silu(grouped(f"{name}.GroupNorm_1", h)))
        return (h + (conv(w, f"{name}.Conv_2", x) if f"{name}.Conv_2.weight" in w else x)) / root

    def attend(x: Tensor) -> Tensor:
        name = take()
        flat = grouped(f"{name}.GroupNorm_0", x).flatten(2).transpose(1, 2)
        q, k, v = (flat @ w[f"{name}.NIN_{i}.W"] + w[f"{name}.NIN_{i}.b"] for i in range(3))
        out = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(x.shape[1]), -1) @ v
        out = out @ w[f"{name}.NIN_3.W"] + w[f"{name}.NIN_3.b"]
        return (x + out.transpose(1, 2).reshape(x.shape)) / root

    angle = 2 * math.pi * sigma.log()[:, None] * w[f"{take()}.W"]
    emb = linear(w, take(), torch.cat([angle.sin(), angle.cos()], 1))
    emb = linear(w, take(), F.silu(emb))
    pyramid = 2 * x - 1
    h = conv(w, take(), pyramid)
    skips = [h]
    for level in range(len(mult)):
        for _ in range(blocks):
            h = block(h)
            if level in attention:
                h = attend(h)
            skips.append(h)
        if level < len(mult) - 1:
            h, pyramid = block(h, "down"), fir(pyramid, "down")
            h = h + conv(w, f"{take()}.Conv_0", pyramid)
            skips.append(h)
    h = block(attend(block(h)))
    out: Tensor | None = None
    for level in reversed(range(len(mult))):
        for _ in range(blocks + 1):
            h = block(torch.cat([h, skips.pop()], 1))
        if level in attention:
            h = attend(h)
        normed = F.silu(grouped(take(), h))
        own = conv(w, take(), normed)
        out = own if out is None else own + fir(out, "up")
        if level:
            h = block(h, "up")
    assert out is not None
    return out / sigma[:, None, None, None]
