"""Where a Dirac run should stop: for PSNR, and for looks; found on held-out pictures."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.loop import reconstruct
from pellucid.methods.dirac import dirac
from pellucid.metrics.effnet import effnet_distance
from pellucid.metrics.pixels import psnr
from pellucid.prior.dirac import DiracPrior
from pellucid.problem import Problem

STEPS = 50
ETAS = (0.0, 0.5)  # guidance that is tried; std scaling
SIZE = 128  # of the centre crops; held-out pictures are seen as the trained crops are


def path(prior: DiracPrior, pictures: Tensor, eta: float, seed: int = 0) -> list[dict[str, float]]:
    """Mean PSNR in dB (clipped) and feature distance of x0_hat at every step from t = 1 down, on pictures (n, c, h, w).

    The pictures are degraded to t = 1, with its noise.
    """
    process = prior.process
    last = torch.ones(len(pictures), dtype=torch.float64)
    z = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(seed))
    y = process.diffuse(pictures, last, z)
    operator = process.family(tuple(pictures.shape[1:])).at(1.0)
    problem = Problem(y, operator, float(process.sigma(last)[0]))
    result = reconstruct(problem, prior, dirac(STEPS, eta=eta), seeds=seed, trace=True)
    assert result.trace is not None
    found = []
    for step in result.trace:
        x0 = step.estimate.x0.clamp(0, 1)
        figures = {"psnr": float(psnr(x0, pictures).mean()), "distance": float(effnet_distance(x0, pictures).mean())}
        found.append({"t": round(float(step.state.t[0]), 4), **{k: round(v, 4) for k, v in figures.items()}})
    return found


def points(paths: dict[float, list[dict[str, float]]]) -> dict[str, dict[str, Any]]:
    """The keywords of `dirac` with the highest mean PSNR ("psnr"), and with the least distance ("perception").

    `stop` lies halfway between the time of the last estimate and the next one.
    """
    places = [(eta, k) for eta, found in paths.items() for k in range(len(found))]
    best = {
        "psnr": max(places, key=lambda place: paths[place[0]][place[1]]["psnr"]),
        "perception": min(places, key=lambda place: paths[place[0]][place[1]]["distance"]),
    }
    return {name: _words(paths[eta], k, eta) for name, (eta, k) in best.items()}


def _words(found: list[dict[str, float]], k: int, eta: float) -> dict[str, Any]:
    below = found[k + 1]["t"] if k + 1 < len(found) else 0.0
    return {"nfe": STEPS, "stop": round((found[k]["t"] + below) / 2, 4) if below else 0.0, "eta": eta}


def tuned(prior: DiracPrior, pictures: Tensor) -> dict[str, Any]:
    """What a card holds: `points`, and `tradeoff`, the path without guidance that perception and PSNR trade along."""
    paths = {eta: path(prior, pictures, eta) for eta in ETAS}
    said = f"means over {len(pictures)} held-out {SIZE}-pixel crops degraded to t = 1, {STEPS} steps, eta of {ETAS}"
    return {"points": points(paths), "tradeoff": paths[0.0], "protocol": said}
