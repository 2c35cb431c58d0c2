"""Where a Dirac run should stop: for PSNR, and for perception; found on held-out pictures.

Perception is how far results as a set are from true pictures as a set (Blau and Michaeli, CVPR 2018). A distance of
pairs does not tell it: that grows with every detail that is plausible and not the true one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.loop import reconstruct
from pellucid.methods.dirac import dirac
from pellucid.metrics.effnet import EffnetFrechet, effnet_distance
from pellucid.metrics.features import three_channels
from pellucid.metrics.frechet import frechet_distance, moments
from pellucid.metrics.pixels import psnr
from pellucid.prior.dirac import DiracPrior
from pellucid.problem import Problem

STEPS = 50
PLACES = (0, 1, 2, 3, *range(5, STEPS, 5), STEPS - 1)  # steps of the path that are looked at
ETAS = (0.0, 0.5)  # guidance that is tried; std scaling
SIZE = 128  # of the centre crops; held-out pictures are seen as the trained crops are


def path(prior: DiracPrior, pictures: Tensor, eta: float, seed: int = 0) -> list[dict[str, float]]:
    """What x0_hat is like at some steps from t = 1 down, on pictures (n, c, h, w) degraded to t = 1, with its noise.

    Mean PSNR in dB (clipped), mean feature distance, and the Fréchet distance of features to the true pictures'.
    """
    process = prior.process
    last = torch.ones(len(pictures), dtype=torch.float64)
    z = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(seed))
    y = process.diffuse(pictures, last, z)
    operator = process.family(tuple(pictures.shape[1:])).at(1.0)
    problem = Problem(y, operator, float(process.sigma(last)[0]))
    result = reconstruct(problem, prior, dirac(STEPS, eta=eta), seeds=seed, trace=True)
    assert result.trace is not None
    whole = EffnetFrechet()
    true = moments(whole.features(three_channels(pictures)))
    found = []
    for k in PLACES:
        step = result.trace[k]
        x0 = step.estimate.x0.clamp(0, 1)
        figures = {
            "psnr": float(psnr(x0, pictures).mean()),
            "distance": float(effnet_distance(x0, pictures).mean()),
            "frechet": frechet_distance(*moments(whole.features(three_channels(x0))), *true),
        }
        found.append({"t": round(float(step.state.t[0]), 4), **{name: round(v, 4) for name, v in figures.items()}})
    return found


def points(paths: dict[float, list[dict[str, float]]]) -> dict[str, dict[str, Any]]:
    """The keywords of `dirac` with the highest mean PSNR ("psnr"), and the least Fréchet distance ("perception").

    `stop` lies half a step below the time of the last estimate.
    """
    places = [(eta, k) for eta, found in paths.items() for k in range(len(found))]
    best = {
        "psnr": max(places, key=lambda place: paths[place[0]][place[1]]["psnr"]),
        "perception": min(places, key=lambda place: paths[place[0]][place[1]]["frechet"]),
    }
    stops = {name: max(0.0, round(paths[eta][k]["t"] - 0.5 / STEPS, 4)) for name, (eta, k) in best.items()}
    return {name: {"nfe": STEPS, "stop": stops[name], "eta": eta} for name, (eta, _) in best.items()}


def tuned(prior: DiracPrior, pictures: Tensor) -> dict[str, Any]:
    """What a card holds: `points`, and `tradeoff`, the path without guidance that perception and PSNR trade along."""
    paths = {eta: path(prior, pictures, eta) for eta in ETAS}
    said = f"means over {len(pictures)} held-out {SIZE}-pixel crops degraded to t = 1, {STEPS} steps, eta of {ETAS}"
    return {"points": points(paths), "tradeoff": paths[0.0], "protocol": said}
