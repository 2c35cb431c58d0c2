"""Samplers on an exact Gaussian prior, where the posterior is known: python -m bench.peers.exact. See bench/README.md.

Three numbers tell a sampler of the posterior from one that only looks like it: the PSNR of one sample and of the mean
of many, beside those of exact samples, and the samples' spread over the exact one, which is 1 if it is right.
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

import torch
from torch import Tensor

import pellucid
from bench.peers.libraries import installed
from bench.peers.peer import Peer
from bench.peers.race import Outcome, ours_on, theirs_on
from bench.peers.table import put_into
from pellucid import methods
from pellucid.images.atomic import replacing
from pellucid.operators import Mask
from pellucid.prior.gaussian import GaussianPrior
from pellucid.verify.oracle import posterior

NOISE = 0.05


@dataclass(frozen=True)
class Line:
    """A sampler on one problem.

    Attributes:
        case, library, method: of what.
        samples: of the posterior.
        calls, vjps: of the network, for one sample; seconds: for all samples.
        one, mean: PSNR of a sample (their average in MSE), and of the mean of all samples; of nothing that is clipped.
        spread: root mean square of the samples' standard deviation over that of the exact posterior.
        error: why there are no such numbers.
    """

    case: str
    library: str
    method: str
    samples: int
    calls: int | None = None
    vjps: int | None = None
    seconds: float | None = None
    one: float | None = None
    mean: float | None = None
    spread: float | None = None
    error: str | None = None

    def __str__(self) -> str:
        start = f"{self.case:22s} {self.library:8s} {self.method:14s}"
        if self.one is None or self.mean is None or self.spread is None:
            return f"{start} {self.error}"
        cost = "" if self.calls is None else f", {self.calls:4d} calls, {self.vjps:4d} vjps, {self.seconds:6.2f} s"
        return f"{start} {self.one:6.2f} dB, mean {self.mean:6.2f} dB, spread {self.spread:5.2f}{cost}"


@dataclass(frozen=True)
class Case:
    """A draw of the prior, how it was measured, and how often it is sampled."""

    name: str
    truth: Tensor
    operator: Mask
    prior: GaussianPrior
    samples: int

    def problem(self, copies: int) -> pellucid.Problem:
        """The same measurement for every sample."""
        noise = torch.randn(self.truth.shape, generator=torch.Generator().manual_seed(1), dtype=self.truth.dtype)
        y = self.operator(self.truth) + NOISE * self.operator(noise)
        return pellucid.Problem(y.float().expand(copies, -1, -1, -1), self.operator, NOISE)


def lines(case: Case, peers: list[Peer]) -> Iterator[Line]:
    """Exact samples, then every pair at its libraries' own defaults, theirs first."""
    problem = case.problem(1)
    exact = posterior(case.prior, dataclasses.replace(problem, y=problem.y.double()))
    drawn = exact.sample(case.samples, torch.Generator().manual_seed(2))
    score = _Scores(case.truth, float(exact.std.square().mean().sqrt() / 2))
    yield Line(case.name, "exact", "posterior", case.samples, **score(case.prior.codec.decode(drawn)))
    for ours in dict.fromkeys(peer.ours for peer in peers):
        for peer in (peer for peer in peers if peer.ours == ours):
            yield _line(case, peer.library, peer.name, score, _one_by_one(case, peer))
        preset = methods.get(ours)
        method, many = preset.build(operator=case.operator), case.problem(case.samples)
        yield _line(case, "pellucid", ours, score, lambda m=method, p=many: ours_on(p, case.prior, m, range(len(p.y))))  # type: ignore[misc]


def _one_by_one(case: Case, peer: Peer) -> Callable[[], Outcome]:
    """Sample by sample where a library's step depends on the whole batch, else all at once."""

    def work() -> Outcome:
        if not peer.mixes:
            return theirs_on(case.problem(case.samples), case.prior, peer, peer.nfe, seed=0)
        parts = [theirs_on(case.problem(1), case.prior, peer, peer.nfe, seed) for seed in range(case.samples)]
        return Outcome(torch.cat([part.image for part in parts]), parts[0].nfe, parts[0].vjp)

    return work


def _line(case: Case, library: str, method: str, score: _Scores, work: Callable[[], Outcome]) -> Line:
    began = time.perf_counter()
    try:
        outcome = work()
    except Exception as error:  # a failure is a result
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return Line(case.name, library, method, case.samples, error=text)
    seconds = time.perf_counter() - began
    if not torch.isfinite(outcome.image).all():
        return Line(case.name, library, method, case.samples, outcome.nfe, outcome.vjp, error="not finite")
    found = score(outcome.image.double())
    return Line(case.name, library, method, case.samples, outcome.nfe, outcome.vjp, seconds, **found)


@dataclass(frozen=True)
class _Scores:
    truth: Tensor
    std: float

    def __call__(self, pictures: Tensor) -> dict[str, float]:
        one, mean = (pictures - self.truth).square().mean(), (pictures.mean(0) - self.truth).square().mean()
        spread = pictures.var(0).mean().sqrt() / self.std
        return {"one": -10 * math.log10(one), "mean": -10 * math.log10(mean), "spread": float(spread)}


def cases(samples: int, size: int) -> Iterator[Case]:
    """A box in the middle, and scattered holes."""
    prior = GaussianPrior.natural(size)
    white = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    truth = prior.codec.decode(prior.mean + prior.color(white))
    yield Case("Gaussian, box mask", truth, Mask.box((3, size, size), size // 2), prior, samples)
    yield Case("Gaussian, random 70 %", truth, Mask.random((3, size, size), 0.7, seed=1), prior, samples)


def markdown(found: list[Line]) -> str:
    """A row a sampler, both problems side by side."""
    names = list(dict.fromkeys(line.case for line in found))
    lines = [f"| sampler | calls | vjps | {' | '.join(f'{name}: one, mean, dB | spread' for name in names)} |"]
    lines.append("|---" * (3 + 2 * len(names)) + "|")
    for library, method in dict.fromkeys((line.library, line.method) for line in found):
        of = {line.case: line for line in found if (line.library, line.method) == (library, method)}
        first = next(iter(of.values()))
        cells = [f"{library} {method}", f"{first.calls or ''}", "" if first.vjps is None else f"{first.vjps}"]
        for name in names:
            line = of[name]
            good = line.one is not None
            cells += [f"{line.one:.2f}, {line.mean:.2f}", f"{line.spread:.2f}"] if good else [str(line.error), ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parses the command line, runs, prints, writes."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers.exact", description=__doc__)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--out", type=Path, default=Path("bench/results/peers-exact.json"))
    parser.add_argument("--page", type=Path, help="a Markdown page whose lines between the exact marks are rewritten")
    options = parser.parse_args()
    peers = [peer for peer in installed() if peer.name != "RePaint"]  # which is made for noiseless measurements
    found: list[Line] = []
    for case in cases(options.samples, options.size):
        for line in lines(case, peers):
            found.append(line)
            print(line, flush=True)
    about: dict[str, object] = {"pellucid": pellucid.__version__, "torch": torch.__version__}
    about |= {peer.library: peer.version for peer in peers}
    about |= {"threads": torch.get_num_threads(), "noise_std": NOISE, "size": options.size}
    about |= {"lines": [dataclasses.asdict(line) for line in found]}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(options.out) as partial:
        partial.write_text(json.dumps(about, indent=1) + "\n")
    if options.page is not None:
        put_into(options.page, markdown(found), "exact")


if __name__ == "__main__":
    main()
