"""What a method costs beside its network: seconds / (calls x seconds of a call + vjps x seconds of a vjp).

Bare calls and the method take turns in one process, on the same network and picture, so that a machine that slows down
slows both; medians over the turns are reported, of wall time and of the processor's time, which other processes on a
busy machine disturb less.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pellucid import methods, zoo
from pellucid.errors import UnknownNameError
from pellucid.loop import reconstruct
from pellucid.nn.edm import EDMDenoiser
from pellucid.nn.unet import UNet
from pellucid.operators import Operator, parse
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.problem import Problem

METHODS = ("ddnm", "ssd", "ddrm", "dps")
OPERATOR = "mask:random=0.7,seed=1"


@dataclass(frozen=True)
class Overhead:
    """One line of the table.

    Attributes:
        method: its name.
        calls, vjps: of the network, for the one picture.
        seconds: of the method, the median over the turns.
        network_seconds: of as many bare calls and vjps, the median over the turns.
        ratio: the median over the turns of seconds / network_seconds.
        cpu_ratio: the same of the processor's seconds.
    """

    method: str
    calls: int
    vjps: int
    seconds: float
    network_seconds: float
    ratio: float
    cpu_ratio: float


def run(
    size: int = 256,
    nfe: int = 20,
    prior: str = "photo",
    repeats: int = 5,
    out: Path | None = None,
    names: Sequence[str] = METHODS,
    operator: str = OPERATOR,
) -> list[Overhead]:
    """Measures, prints a table, and writes JSON to `out`.

    Args:
        size: side of the picture.
        nfe: network calls asked of every method.
        prior: a shipped prior's name or a folder; where there is none, a network of random weights takes its place.
        repeats: turns of bare calls and method.
        out: a JSON file.
        names: which methods.
        operator: what was measured, as text; its cost counts as overhead.
    """
    network, label = load_or_random(prior)
    rows = []
    for name in names:
        rows.append(measure(network, name, parse(operator).build((3, size, size)), nfe, repeats))
        print(line(rows[-1]), flush=True)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(report(rows, network, label, operator, size, repeats), indent=2) + "\n")
    return rows


def measure(prior: DiffusionPrior, name: str, operator: Operator, nfe: int, repeats: int) -> Overhead:
    """One method against bare calls of its network."""
    problem, method = _problem(operator), methods.get(name).build(nfe)
    first = reconstruct(problem, prior, method)
    picture = first.image.clamp(0, 1)
    calls, vjps = int(first.nfe[0]), int(first.vjp[0])
    bare, ours = (lambda: _bare(prior, picture, calls, vjps)), (lambda: reconstruct(problem, prior, method))
    turns = []
    for turn in range(repeats):
        order = (bare, ours) if turn % 2 == 0 else (ours, bare)
        clocks = {part: _clocks(part) for part in order}
        turns.append((clocks[ours], clocks[bare]))
    return Overhead(
        name,
        calls,
        vjps,
        seconds=statistics.median(a.wall for a, _ in turns),
        network_seconds=statistics.median(b.wall for _, b in turns),
        ratio=statistics.median(a.wall / b.wall for a, b in turns),
        cpu_ratio=statistics.median(a.cpu / b.cpu for a, b in turns),
    )


def load_or_random(name: str) -> tuple[DiffusionPrior, str]:
    """The prior of that name; where it is not shipped, a network of the same kind with random weights."""
    try:
        return zoo.load(name), name
    except UnknownNameError:
        torch.manual_seed(0)
        network = EDMDenoiser(UNet()).eval().requires_grad_(False)
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        prior = DiffusionPrior(network, predicts="denoiser", multiple=16, autocast=zoo.fast_dtype("cpu"))
        return prior, "random weights"


def line(row: Overhead) -> str:
    """A row of the table."""
    return (
        f"{row.method:8s} {row.calls:4d} calls {row.vjps:4d} vjps {row.seconds:8.2f} s, "
        f"its network alone {row.network_seconds:8.2f} s, ratio {row.ratio:.3f} (cpu {row.cpu_ratio:.3f})"
    )


def report(
    rows: Sequence[Overhead], prior: DiffusionPrior, label: str, operator: str, size: int, repeats: int
) -> dict[str, object]:
    """The table with what it was measured on."""
    network = prior.network
    parameters = sum(p.numel() for p in network.parameters()) if isinstance(network, torch.nn.Module) else None
    return {
        "prior": label,
        "parameters": parameters,
        "operator": operator,
        "size": size,
        "repeats": repeats,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "rows": [dataclasses.asdict(row) for row in rows],
    }


def _problem(operator: Operator) -> Problem:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 8, 8, generator=generator)
    picture = torch.nn.functional.interpolate(coarse, size=operator.image_shape[1:], mode="bilinear")
    y = operator(picture)
    return Problem(y + 0.02 * torch.randn(y.shape, generator=generator), operator, 0.02)


def _bare(prior: DiffusionPrior, picture: Tensor, calls: int, vjps: int) -> None:
    """`calls` forward passes of the network and nothing else; `vjps` of them with the graph and one vjp each."""
    levels = torch.linspace(0.02, 10, calls)
    x = prior.codec.encode(picture)
    for index, level in enumerate(levels):
        with _precision(prior):
            if index < vjps:
                leaf = x.detach().requires_grad_()
                out = prior.network(leaf, level[None])
                torch.autograd.grad(out, leaf, out.detach())
            else:
                with torch.no_grad():
                    prior.network(x, level[None])


@contextmanager
def _precision(prior: DiffusionPrior) -> Iterator[None]:
    with torch.autocast("cpu", prior.autocast) if prior.autocast else nullcontext():
        yield


@dataclass(frozen=True)
class _Clocks:
    wall: float
    cpu: float


def _clocks(work: Callable[[], object]) -> _Clocks:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return _Clocks(time.perf_counter() - wall, time.process_time() - cpu)
