"""What a step of Latent-DPS is made of, and what flash gives where parts of it are left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.bench.claims.hard import opened
from pellucid.bench.claims.severity_study import BLUR, NOISE, STDS, Pictures, Study, encoder, listed
from pellucid.bench.run import save_json
from pellucid.bench.scores import find as metric
from pellucid.cli.console import say
from pellucid.consistency.latent import length
from pellucid.consistency.pictures import on_pictures
from pellucid.grid import Uniform
from pellucid.loop import reconstruct
from pellucid.method import Method
from pellucid.methods.flash import ae, flash
from pellucid.metrics.pixels import psnr
from pellucid.noise import SeededNoise
from pellucid.operators import Operator, parse
from pellucid.prior.base import Prior, State
from pellucid.problem import Problem
from pellucid.severity import NetworkSeverity, reduced

PARTS = ("network", "network back", "decoder", "decoder back", "operator", "operator back")
WHOLE = {"whole step": "ldps", "without network back": "ldps:through_network=false", "without guidance": "none"}
NFE = 500
Clock = Callable[[], float]


def split(prior: Prior, x: Tensor, repeats: int = 12, clock: Clock = time.process_time) -> Study:
    """Seconds of the parts of a step, the least of `repeats`, and of whole steps inside of `reconstruct`.

    Args:
        prior: of latents.
        x: one picture, (1, c, h, w) in [0, 1].
        repeats: after one that warms up.
        clock: seconds of this process.
    """
    problem = measurement(x, parse("gaussian-blur:std=2").build(tuple(x.shape[1:])))
    rows = [_parts(prior, problem, x, clock) for _ in range(repeats + 1)][1:]
    found = {name: round(min(row[name] for row in rows), 6) for name in rows[0]}
    whole = {name: round(_whole(prior, problem, inner, repeats, clock), 6) for name, inner in WHOLE.items()}
    return {"parts": found, "steps": whole}


def _parts(prior: Prior, problem: Problem, x: Tensor, clock: Clock) -> dict[str, float]:
    pictures = on_pictures(prior.codec.observe(problem))
    z0 = prior.codec.encode(x).detach()
    t = torch.full((1,), 100.0, dtype=torch.float64)
    z = z0 + 0.3 * SeededNoise([0]).normal(z0, 0, "z")
    moments, found = [clock()], {}

    def lap(name: str) -> None:
        moments.append(clock())
        found[name] = moments[-1] - moments[-2]

    prior.estimate(State(z, t))
    lap("network alone")
    raw = prior.estimate(State(z, t), differentiable=True)
    lap("network")
    with torch.enable_grad():
        z0 = raw.x0.detach().requires_grad_()
        image = prior.codec.picture(z0, pictures.operator.image_shape)
        lap("decoder")
        shown = image.detach().requires_grad_()
        size = length(pictures.residual(shown)).sum()
        lap("operator")
        (seen,) = torch.autograd.grad(size, shown)
        lap("operator back")
        (gradient,) = torch.autograd.grad(image, z0, seen)
        lap("decoder back")
    assert raw.vjp is not None
    raw.vjp(gradient)
    lap("network back")
    return found


def _whole(prior: Prior, problem: Problem, inner: str, repeats: int, clock: Clock) -> float:
    """The least seconds between two callbacks of a run."""
    from pellucid.methods.flash import inner_method

    moments: list[float] = []
    method = replace(inner_method(inner, repeats + 2), grid=Uniform(repeats + 2))
    reconstruct(problem, prior, method, seeds=0, callback=lambda step: moments.append(clock()))
    return min(b - a for a, b in pairwise(moments))


def measurement(x: Tensor, operator: Operator, seed: int = 0) -> Problem:
    """A problem at noise 0.05, its noise by seed."""
    clean = operator(x)
    noise = SeededNoise([seed + k for k in range(len(x))]).normal(clean, 0, "measurement")
    return Problem(clean + NOISE * noise, operator, noise_std=NOISE)


def leaner(severity: NetworkSeverity, nfe: int) -> dict[str, Method]:
    """Flash with less of Latent-DPS, and with other means of the map, by name; the first is the reference."""
    made = {f"every {k}": flash(f"ldps:every={k}", severity, nfe=nfe) for k in (1, 2, 5, 10)}
    made["network's eps held"] = flash("ldps:through_network=false", severity, nfe=nfe)
    made["no consistency"] = flash("none", severity, nfe=nfe)
    made["no diffusion"] = ae(severity)
    for how in ("geometric", "harmonic"):
        made[f"{how} mean"] = flash("ldps", replace(severity, reduce=how), nfe=nfe)
    return made


def quality(prior: Prior, severity: NetworkSeverity, x: Tensor, nfe: int = NFE) -> Study:
    """Every variant of `leaner` on pictures (n, c, h, w), each blurred by a level of its own.

    "mean, lowered" has the temperature at which the mean of the map equals its geometric mean over these pictures.
    """
    stds = [STDS[k * (len(STDS) - 1) // max(len(x) - 1, 1)] for k in range(len(x))]
    shape = tuple(x.shape[1:])
    cases = [
        (one, measurement(one, parse(f"gaussian-blur:std={std}").build(shape), k))
        for k, (one, std) in enumerate(zip(x.split(1), stds, strict=True))
    ]
    ratio = lowering(prior, severity, [problem for _, problem in cases])
    methods = leaner(severity, nfe)
    methods["mean, lowered"] = flash("ldps", replace(severity, temperature=ratio * severity.temperature), nfe=nfe)
    found: Study = {"stds": stds, "nfe": nfe, "lowered by": round(ratio, 4), "rows": {}}
    for name, method in methods.items():
        found["rows"][name] = _run(prior, method, cases)
        say(f"flash, {name}: {sum(found['rows'][name]['psnr']) / len(cases):.2f} dB")
    return found


def lowering(prior: Prior, severity: NetworkSeverity, problems: list[Problem]) -> float:
    """Geometric mean over the problems of: the geometric mean of the map over its mean."""
    logs = []
    for problem in problems:
        _, field = severity.field(prior.codec.observe(problem), prior)
        logs.append((reduced(field, "geometric") / reduced(field)).log())
    return float(torch.cat(logs).mean().exp())


def _run(prior: Prior, method: Method, cases: list[tuple[Tensor, Problem]]) -> dict[str, Any]:
    rows: dict[str, list[float]] = {}
    distance = metric("effnet_distance")
    for k, (truth, problem) in enumerate(cases):
        began = time.process_time()
        result = reconstruct(problem, prior, method, seeds=k)
        spent = time.process_time() - began
        image = result.image.clamp(0, 1)
        figures = {
            "psnr": psnr(image, truth),
            "effnet_distance": distance(image, truth),
            "residual": (problem.operator(result.image) - problem.y).square().flatten(1).mean(1).sqrt(),
            "nfe": result.nfe,
            "vjp": result.decode_vjps,
            "processor_seconds": torch.tensor([spent]),
        }
        for name, value in figures.items():
            rows.setdefault(name, []).extend(listed(value))
    return rows


def study(out: Path, about: Mapping[str, Any], pictures: Pictures, prior: Prior, only: tuple[str, ...] = ()) -> Study:
    """Measures both parts anew, "split" and "quality", into the file of `severity_study.study`.

    Raises:
        ConfigError: the file is of other pictures.
    """
    whole = opened(out, about)
    known = {BLUR: encoder(BLUR).about}
    measures: dict[str, Callable[[], Study]] = {
        "split": lambda: {str(size): split(prior, x[1:2]) for size, x in pictures.crops.items()},
        "quality": partial(quality, prior, encoder(BLUR).severity, pictures.judged(min(pictures.crops))),
    }
    for name, measure in measures.items():
        if not only or name in only:
            whole["runs"][name] = {"encoders": known, **measure()}
            save_json(out, whole)
    return whole
