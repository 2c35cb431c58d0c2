"""A plan run through several libraries: every picture's measurement once, and every sampler on it in turn."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.peers.network import Network
from bench.peers.peer import Inexpressible, Peer
from pellucid import __version__
from pellucid.account import counting
from pellucid.bench import priors, scores
from pellucid.bench.data import Image, stacked
from pellucid.bench.jobs import Job
from pellucid.bench.measuring import number
from pellucid.bench.resolve import Experiment
from pellucid.errors import ConfigError
from pellucid.loop import reconstruct
from pellucid.method import Method
from pellucid.metrics import METRICS
from pellucid.operators import parse
from pellucid.prior.base import Prior
from pellucid.problem import Problem

Row = dict[str, Any]
OURS = "pellucid"


@dataclass(frozen=True)
class Outcome:
    """What came out, (b, c, h, w), and the network calls and vector-Jacobian products that it took an image."""

    image: Tensor
    nfe: int
    vjp: int


def ours_on(problem: Problem, prior: Prior, method: Method, seeds: Sequence[int]) -> Outcome:
    """Our method."""
    result = reconstruct(problem, prior, method, seeds=seeds)
    return Outcome(result.image, int(result.nfe[0]), int(result.vjp[0]))


def theirs_on(problem: Problem, prior: Prior, peer: Peer, nfe: int, seed: int) -> Outcome:
    """Another library's, with its own randomness seeded, counted by our account."""
    torch.manual_seed(seed)
    with counting(len(problem.y)) as account:
        image = peer.sample(Network(prior), problem, nfe).detach()
    return Outcome(image, int(account.nfe[0]), int(account.vjp[0]))


@dataclass(frozen=True)
class Turn:
    """One sampler on one picture.

    Args:
        library, version, name: of the sampler.
        settings: its options or defaults, as text.
        same: whether it is of the same paper as our method that it stands beside.
        work: does it.
    """

    library: str
    version: str
    name: str
    settings: str
    same: bool
    work: Callable[[], Outcome]


def race(experiment: Experiment, peers: Sequence[Peer], done: Sequence[Row] = ()) -> Iterator[list[Row]]:
    """The rows of one of our methods and its relatives on one picture, and so on through the plan.

    All that is to be done on a picture comes before the next one, so that a run that is cut short has whole pictures.
    The order of turns moves on by one from picture to picture, so that none is always the first. A sampler that fails
    gives a row that says so.

    Args:
        experiment: the plan.
        peers: the other libraries' samplers.
        done: rows of an earlier run; what is among them is given back and not run again.

    Raises:
        ConfigError: no method of the plan has a relative in any library.
    """
    place = {image.name: index for index, image in enumerate(experiment.images)}
    work = [(place[image.name], job.only({key})) for job in experiment.jobs for image, key in _parts(job)]
    names = {peer.ours for peer in peers}
    work = [(index, job) for index, job in work if job.run.name in names]
    if not work:
        raise ConfigError(f"no method of the plan is in another library; those that are: {', '.join(sorted(names))}")
    warm: set[Any] = set()
    for index, job in sorted(work, key=lambda item: item[0]):
        wanted = {(OURS, job.run.name, __version__)}
        wanted |= {(peer.library, peer.name, peer.version) for peer in peers if peer.ours == job.run.name}
        kept = [row for row in done if row["key"] == job.keys[0]]
        if wanted <= {(row["library"], row["method"], row["version"]) for row in kept}:
            yield kept
            continue
        prior = priors.loaded(job.prior, experiment.device, experiment.precision)
        problem, truth, true = _measured(experiment, job)
        if (slot := (job.prior, truth.shape)) not in warm:
            warm_up(prior, truth)
            warm.add(slot)
        turns = list(_turns(experiment, job, prior, problem, peers))
        first = index % len(turns)
        yield [_row(experiment, job, turn, truth, true) for turn in turns[first:] + turns[:first]]


def _parts(job: Job) -> Iterator[tuple[Image, str]]:
    yield from zip(job.images, job.keys, strict=True)


def warm_up(prior: Prior, picture: Tensor) -> None:
    """One call and one gradient: what is prepared once a shape is prepared in nobody's time."""
    with torch.enable_grad():
        z = prior.codec.encode(picture).requires_grad_()
        mean = Network(prior)(z, 1.0)
        torch.autograd.grad(mean, z, torch.ones_like(mean))


def _measured(experiment: Experiment, job: Job) -> tuple[Problem, Tensor, Problem]:
    """What the samplers see; the truth; the true operator and noise, for the residual."""
    (image,) = job.images
    truth = stacked(experiment.plan.data, [image])
    true, told = (parse(text).build(image.shape) for text in job.level.operators(image.name))
    y = job.level.measure(truth, true, [image.name])
    return Problem(y, told, job.level.told(image.name)), truth, Problem(y, true, job.level.std(image.name))


def _turns(experiment: Experiment, job: Job, prior: Prior, problem: Problem, peers: Sequence[Peer]) -> Iterator[Turn]:
    (image,) = job.images
    seed, nfe = number("method", job.seed, image.name), job.run.nfe or 1
    options = json.dumps(job.run.options(problem.operator), sort_keys=True, default=str)
    method, device = job.run.build(problem.operator), experiment.device

    def ours() -> Outcome:
        return ours_on(_on(problem, device), prior, method, [seed])

    yield Turn(OURS, __version__, job.run.name, options, True, ours)
    for peer in peers:
        if peer.ours == job.run.name:

            def theirs(peer: Peer = peer) -> Outcome:
                return theirs_on(_on(problem, device), prior, peer, nfe, seed)

            yield Turn(peer.library, peer.version, peer.name, peer.defaults, peer.same, theirs)


def _on(problem: Problem, device: str) -> Problem:
    return Problem(problem.y.to(device), problem.operator, problem.noise_std)


def _row(experiment: Experiment, job: Job, turn: Turn, truth: Tensor, true: Problem) -> Row:
    (image,), level = job.images, job.level
    row: Row = {
        "key": job.keys[0],
        "task": level.task.name,
        "operator": level.operators(image.name)[0],
        "noise": str(level.noise),
        "noise_std": level.std(image.name),
        "image": image.name,
        "image_sha256": image.sha256,
        "height": image.shape[-2],
        "width": image.shape[-1],
        "prior": job.prior,
        "prior_sha256": experiment.fingerprints[job.prior],
        "precision": experiment.precision,
        "seed": job.seed,
        "pair": job.run.label,
        "library": turn.library,
        "version": turn.version,
        "method": turn.name,
        "same_paper": turn.same,
        "settings": turn.settings,
        "nfe_asked": job.run.nfe,
    }
    return row | run(turn.work, truth, true, experiment)


def run(work: Callable[[], Outcome], truth: Tensor, true: Problem, experiment: Experiment) -> Row:
    """The columns that say what came out: counts, seconds, metrics; or the error."""
    outcome, status, error = None, "ok", None
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        outcome = work()
        if not torch.isfinite(outcome.image).all():
            status, error = "error", "the result is not finite"
    except Inexpressible as reason:
        status, error = "inexpressible", str(reason)
    except Exception as reason:  # another library's failure is a result
        status, error = "error", " ".join(f"{type(reason).__name__}: {reason}".split())[:500]
    row: Row = {"status": status, "error": error, "nfe": outcome and outcome.nfe, "vjp": outcome and outcome.vjp}
    row |= {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    if outcome is not None and status == "ok":
        plan, picture = experiment.plan, outcome.image.to(truth)
        row["residual"] = float(METRICS["residual_rms"](picture, problem=true)[0])
        for metric in scores.per_image(plan.metrics):
            needed = truth if metric.needs_truth else None
            row[metric.name] = float(metric(picture, needed, protocol=plan.protocol)[0])
    return row
