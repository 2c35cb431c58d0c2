"""What hard consistency costs: ReSample as released, as in the paper and as here, on the same pictures in one run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.bench.data import collect, stacked
from pellucid.bench.measuring import number
from pellucid.bench.plan import Data
from pellucid.bench.priors import fingerprint
from pellucid.bench.provenance import commit, machine, now, versions
from pellucid.bench.run import save_json
from pellucid.cli.console import say
from pellucid.consistency.hard import ByCodec, Finish, HardConsistency, LatentOptimisation
from pellucid.errors import ConfigError
from pellucid.loop import reconstruct
from pellucid.method import Method
from pellucid.methods.resample import resample
from pellucid.metrics.memory import peak_memory
from pellucid.metrics.pixels import psnr
from pellucid.noise import SeededNoise
from pellucid.operators import Operator, parse
from pellucid.prior.base import Prior
from pellucid.problem import Problem

TASKS = {"sr4": "bicubic:factor=4", "mask70": "mask:random=0.7,seed=0"}
NOISE = 0.01
RELEASED, PAPER, OURS = "as released", "the paper", "ours"
STEPS = (1, 2, 3, 6, 12, 25)
COUNTS = ("nfe", "vjp", "decodes", "decode_vjps", "encodes")
Run = Mapping[str, Any]


def cold() -> Method:
    """Ours, every optimisation begun at the present estimate, not where the last one's change leads."""
    method = resample()
    hard = method.consistency
    assert isinstance(hard, HardConsistency) and isinstance(hard.latent, ByCodec)
    assert isinstance(hard.latent.latents, LatentOptimisation)
    latent = replace(hard.latent, latents=replace(hard.latent.latents, warm=False))
    return replace(method, consistency=replace(hard, latent=latent), finish=Finish(latent))


# The cheap ones first: a run that is cut short says the most.
VARIANTS: dict[str, Callable[[], Method]] = {
    OURS: resample,
    **{f"{steps} steps": partial(resample, latent_steps=steps) for steps in STEPS if steps != 3},
    "cold start": cold,
    **{f"every {every}": partial(resample, every=every) for every in (5, 10)},
    RELEASED: partial(resample, as_released=True),
    PAPER: partial(resample, solver="adamw", nfe=500, every=10),
}


def study(
    prior: Prior,
    setup: Mapping[str, Any],
    data: Data,
    out: Path,
    tasks: Sequence[str] = tuple(TASKS),
    variants: Mapping[str, Callable[[], Method]] = VARIANTS,
) -> dict[str, Any]:
    """Runs what `out` does not hold yet, all pictures in one batch, and writes it after every variant.

    Args:
        prior: of latents.
        setup: what names the prior; a run goes on only in a file of the same.
        data: the pictures, of one shape.
        out: a JSON file.
        tasks: of `TASKS`.
        variants: name -> method.

    Raises:
        ConfigError: a task is unknown, or the file is of other pictures, another prior or another precision.
    """
    if unknown := [task for task in tasks if task not in TASKS]:
        raise ConfigError(f"there is no task {unknown[0]!r}; known are {', '.join(TASKS)}")
    images = collect(data)
    x = stacked(data, images)
    about = {
        **setup,
        "pictures": [image.name for image in images],
        "sha256": [image.sha256 for image in images],
        "size": data.size,
        "noise": NOISE,
    }
    whole = opened(out, about)
    operators = {task: parse(TASKS[task]).build(tuple(x.shape[1:])) for task in tasks}
    for (name, make), task in product(variants.items(), tasks):
        done: dict[str, Run] = whole["runs"].setdefault(task, {})
        if name not in done:
            done[name] = measured(x, operators[task], [image.name for image in images], prior, make())
            save_json(out, whole)
            say(line(task, name, done[name]))
    return whole


def opened(out: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """What the file holds; a new content where there is none. Raises `ConfigError`, see `study`."""
    about = json.loads(json.dumps(about))
    if not out.exists():
        host = {"commit": commit(), "versions": versions(), "machine": machine("cpu")}
        return {"setup": about, **host, "threads": torch.get_num_threads(), "written": now(), "runs": {}}
    whole: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    if whole["setup"] != about:
        keys = [key for key in about if whole["setup"].get(key) != about[key]]
        raise ConfigError(f"{out} is of another setup ({', '.join(keys)}); name another file, or remove it")
    return whole


def setup_of(prior: str, precision: str) -> dict[str, Any]:
    """What names a prior in `study`."""
    return {"prior": prior, "fingerprint": fingerprint(prior), "precision": precision}


def measured(x: Tensor, operator: Operator, names: Sequence[str], prior: Prior, method: Method) -> dict[str, Any]:
    """One method on all pictures: what it cost, and what it gave. Noise and seeds go by the pictures' names."""
    clean = operator(x)
    noise = SeededNoise([number("noise", name) for name in names]).normal(clean, 0, "measurement")
    problem = Problem(clean + NOISE * noise, operator, noise_std=NOISE)
    processor = time.process_time()
    with peak_memory("cpu") as peak:
        result = reconstruct(problem, prior, method, seeds=[number("seed", name) for name in names])
    residual = (operator(result.image) - problem.y).square().flatten(1).mean(1).sqrt()
    return {
        "psnr": _rounded(psnr(result.image, x)),
        "residual": _rounded(residual),
        **{name: getattr(result, name).tolist() for name in COUNTS},
        "seconds": round(result.seconds, 2),
        "processor_seconds": round(time.process_time() - processor, 2),
        "peak_mb": round(peak.increment / 1e6, 1),
    }


def _rounded(values: Tensor) -> list[float]:
    return [round(float(v), 5) for v in values]


def line(task: str, name: str, run: Run) -> str:
    """For the console."""
    mean = {key: sum(run[key]) / len(run[key]) for key in (*COUNTS, "psnr")}
    return (
        f"{task:8} {name:12} {mean['psnr']:6.2f} dB  nfe {mean['nfe']:.0f}  decodes {mean['decodes']:.0f}, gradients "
        f"{mean['decode_vjps']:.0f}, encodes {mean['encodes']:.0f}  {run['seconds']:.1f} s "
        f"({run['processor_seconds']:.1f} s of the processor)  +{run['peak_mb']:.0f} MB"
    )
