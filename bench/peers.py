"""Side by side with deepinv: the same prior, operator, noise and measurement in one process. See bench/README.md.

The exact Gaussian prior tells how near each sampler comes to the best possible answer; the network tells the time.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import deepinv_side
import numpy as np
import torch
from PIL import Image
from torch import Tensor

import pellucid
from pellucid import methods
from pellucid.bench.overhead import load_or_random
from pellucid.operators import Mask
from pellucid.prior.base import Prior
from pellucid.verify.oracle import posterior

NOISE = 0.05


@dataclass(frozen=True)
class Line:
    """One method on one problem, theirs and ours.

    Attributes:
        steps: asked for; calls: of the network, counted; seconds: for all samples.
        one, mean: PSNR of a sample (their average in MSE), and of the mean of all samples.
        best: PSNR of the exact posterior mean, where it is known.
    """

    case: str
    method: str
    samples: int
    steps: tuple[int, int]
    calls: tuple[int, int]
    seconds: tuple[float, float]
    one: tuple[float, float]
    mean: tuple[float, float]
    best: float | None

    def __str__(self) -> str:
        (their, our), best = self.seconds, "" if self.best is None else f"   best mean {self.best:5.2f}"
        return (
            f"{self.case:22s} {self.method:8s} deepinv {self.one[0]:5.2f} | {self.mean[0]:5.2f} dB, "
            f"{self.calls[0]:4d} calls {their:7.2f} s   pellucid {self.one[1]:5.2f} | {self.mean[1]:5.2f} dB, "
            f"{self.calls[1]:4d} calls {our:7.2f} s   time x {our / their:.2f}{best}"
        )


@dataclass(frozen=True)
class Case:
    """A picture, how it was measured, and how often it is sampled."""

    name: str
    truth: Tensor
    operator: Mask
    prior: Prior
    samples: int

    def problem(self) -> pellucid.Problem:
        """The same measurement for every sample."""
        noise = torch.randn(self.truth.shape, generator=torch.Generator().manual_seed(1), dtype=self.truth.dtype)
        y = self.operator(self.truth) + NOISE * self.operator(noise)
        return pellucid.Problem(y.float().expand(self.samples, -1, -1, -1), self.operator, NOISE)


def compare(case: Case, method: str, steps: tuple[int, int]) -> Line:
    """Runs theirs, then ours."""
    problem = case.problem()
    denoiser = deepinv_side.Denoiser(case.prior)
    there = deepinv_side.physics(case.operator, NOISE)
    sampler, preset = deepinv_side.SAMPLERS[method][0], methods.get(method).build(steps[1])
    torch.manual_seed(0)
    theirs, their_seconds = timed(lambda: sampler(denoiser, problem.y.clone(), there, steps[0]))
    result, our_seconds = timed(lambda: pellucid.reconstruct(problem, case.prior, preset))
    scores = [psnrs(picture.to(case.truth), case.truth) for picture in (theirs, result.image)]
    return Line(
        case.name,
        method,
        case.samples,
        steps,
        calls=(denoiser.calls, int(result.nfe[0])),
        seconds=(their_seconds, our_seconds),
        one=(scores[0][0], scores[1][0]),
        mean=(scores[0][1], scores[1][1]),
        best=best(case),
    )


def best(case: Case) -> float | None:
    """PSNR of the exact posterior mean."""
    if not isinstance(case.prior, pellucid.GaussianPrior):
        return None
    problem = case.problem()
    exact = posterior(case.prior, dataclasses.replace(problem, y=problem.y[:1].double()))
    return psnrs(case.prior.codec.decode(exact.mean), case.truth)[0]


def psnrs(pictures: Tensor, truth: Tensor) -> tuple[float, float]:
    """(of a sample, by the average MSE; of the mean), nothing clipped."""
    one, mean = (pictures - truth).square().mean(), (pictures.mean(0) - truth).square().mean()
    return -10 * math.log10(one), -10 * math.log10(mean)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    return work(), time.perf_counter() - began


def oracle(samples: int) -> Iterator[Line]:
    """Every method at its library's own defaults on a prior whose posterior is known."""
    prior = pellucid.GaussianPrior.natural(64)
    white = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    truth = prior.codec.decode(prior.mean + prior.color(white))
    for name, operator in {
        "Gaussian, box mask": Mask.box((3, 64, 64), 32),
        "Gaussian, random 70 %": Mask.random((3, 64, 64), 0.7, seed=1),
    }.items():
        case = Case(name, truth, operator, prior, samples)
        for method, (_, default) in deepinv_side.SAMPLERS.items():
            yield compare(case, method, (default, methods.get(method).default_nfe or default))


def network(prior: str, picture: Path, size: int, steps: int) -> Iterator[Line]:
    """Every method with the same number of steps of the same network on a photograph."""
    image = Image.open(picture).convert("RGB")
    left, top = (image.width - size) // 2, (image.height - size) // 2
    pixels = np.asarray(image.crop((left, top, left + size, top + size)), dtype=np.float32) / 255
    truth = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    case = Case("photograph, random 70 %", truth, Mask.random((3, size, size), 0.7), load_or_random(prior)[0], 1)
    for method in deepinv_side.SAMPLERS:
        yield compare(case, method, (steps, steps))


def main() -> None:
    """Parses the command line, runs, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--picture", type=Path, help="a photograph for the part with the network; without it, no such part"
    )
    parser.add_argument("--prior", default="photo")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--samples", type=int, default=16, help="on the exact prior; 0 for no such part")
    parser.add_argument("--out", type=Path, default=Path("bench/results/peers.json"))
    options = parser.parse_args()
    lines = []
    parts = [oracle(options.samples)] if options.samples else []
    if options.picture:
        parts.append(network(options.prior, options.picture, options.size, options.steps))
    for part in parts:
        for line in part:
            lines.append(line)
            print(line, flush=True)
    about = {"deepinv": deepinv_side.VERSION, "pellucid": pellucid.__version__, "torch": torch.__version__}
    about |= {"threads": torch.get_num_threads(), "noise_std": NOISE, "pairs": "deepinv, pellucid"}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(about | {"lines": [dataclasses.asdict(line) for line in lines]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
