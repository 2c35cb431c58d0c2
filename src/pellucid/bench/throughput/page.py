"""docs/throughput.md, from bench/results/throughput.json."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pellucid.bench.throughput.ways import DEGRADATIONS

Clock = Literal["seconds", "cpu"]


@dataclass(frozen=True)
class Summary:
    """A way over all its rounds; medians, by one clock.

    Attributes:
        rate: pictures a second.
        efficiency: see the package.
        gain: pictures a second over those of padded batches in the same round.
        difference: the largest of any round.
        rounds: how many.
    """

    rate: float
    efficiency: float
    gain: float
    difference: float | None
    rounds: int


def clock(study: dict[str, Any]) -> Clock:
    """The wall clock; on a CPU that other programs used at the same time, the processor's own."""
    shared = statistics.median(run["seconds"] / run["cpu"] for run in study["runs"]) > 1.1 / study["threads"]
    return "cpu" if study["device"] == "cpu" and shared else "seconds"


def summary(study: dict[str, Any], way: str, by: Clock) -> Summary:
    """Of a study as `run` writes it."""
    own, padded = ([run for run in study["runs"] if run["way"] == name] for name in (way, "padded"))
    call = "call" if by == "seconds" else "call_cpu"
    gains = [b[by] / a[by] for a, b in zip(own, padded, strict=False)]
    differences = [run["difference"] for run in own if run["difference"] is not None]
    return Summary(
        statistics.median(study["images"] / run[by] for run in own),
        statistics.median(run["nfe"] * run[call] / study["batch"] / run[by] for run in own),
        statistics.median(gains) if gains else float("nan"),
        max(differences) if differences else None,
        len(own),
    )


HEAD = """<!-- made by `python -m pellucid.bench.throughput page` from bench/results/throughput.json -->

# Many pictures: slots

```python
for number, result in pellucid.stream(problems, prior, method, slots=8):
    ...  # result.image is (1, c, h, w); results come in the order of the problems, or order="completion"
```

Pictures of one batch rarely need the same number of network calls: a start that knows how wrong its estimate is enters
the schedule late, an early stop leaves it early. `stream` keeps a fixed number of slots full. A picture that ends makes
room for the next, which begins at its own start, and every network call serves all slots, each at a time of its own.
Every result is that of the picture alone, to 1e-10 in float64 and 1e-4 in float32, for every method
(`tests/theory/test_slots.py`).

- `problems` may be a generator: it is asked for a problem when a slot is free.
- Operators of their own are fine: `pellucid.operators.each` puts them into one batch, an operator that pictures share
  being called once for all of them. Pictures that an algorithm treats differently (spectral, linear, nonlinear
  operators, Poisson noise, another size) share the slots and take their steps kind by kind.
- A callback sees steps whose pictures are `step.images`, each at its own of `step.indices`; returning True ends the
  stream with the estimates reached so far.
- A problem that does not fit is an error that names the picture: before any work for a list, and after the results of
  those under way for a generator.
- What looks back at earlier calls of the same batch is refused: `ssd(attention=True)`.

## What it gives

Pictures of one size with noise of 5 to 100 % of the worst, in random order; the start is the noised pseudo-inverse at
that share of the time, so that the pictures need from a few network calls to all of them, evenly spread.

- one by one: every picture alone.
- padded: batches in the order of arrival; the network (not the decoder) is called on the whole batch until its last
  picture ends.
- shrinking: the same batches by `reconstruct`, which calls the network for those pictures that still need it.
- sorted: padded batches of pictures that need about as many calls, which one must know of all of them beforehand.
- slots: `stream`.

Efficiency is (sum of NFE x seconds of one bare call on a full batch / batch) / seconds: 1 would be a machine that does
nothing but full network calls. Bare calls are timed before and after every run in the same process, and the ways take
turns; figures are medians over their rounds. Where other programs used the processor at the same time, wall time says
little about a way, and seconds are those that the processor spent on it.
"""


def text(studies: Sequence[dict[str, Any]]) -> str:
    """The page."""
    return "\n".join([HEAD, *(line for study in studies for line in _section(study)), *_ending(studies)])


def _section(study: dict[str, Any]) -> Iterator[str]:
    calls = study["calls"]
    yield f"### {study['prior']}, {study['method']}, {study['precision']}, {study['device']}"
    yield ""
    threads = "one thread" if study["threads"] == 1 else f"{study['threads']} threads"
    machine = study["machine"]
    place = machine["device"] if study["device"].startswith("cuda") else f"{threads} of {machine['processor']}"
    yield (
        f"{study['images']} pictures of {study['size']} x {study['size']}, {DEGRADATIONS[study['degradation']]}, "
        f"`{study['method']}`, {study['steps']} steps "
        f"from the top, {min(calls)} to {max(calls)} calls a picture, {sum(calls)} in all; batches and slots of "
        f"{study['batch']}; {place}; torch {study['versions']['torch']}."
    )
    if any(one["way"] == "slots" for one in study["runs"]) and study["method"] in ("dps", "ldps"):
        yield "A bare call is one of the network and one of the decoder, with the gradients of both."
    yield ""
    by = clock(study)
    rate = "pictures per second of the processor" if by == "cpu" else "pictures per second"
    yield f"| way | {rate} | over padded | efficiency | rounds |"
    yield "|---|---|---|---|---|"
    for way in dict.fromkeys(one["way"] for one in study["runs"]):
        s = summary(study, way, by)
        yield f"| {way} | {s.rate:.2f} | {s.gain:.2f}x | {s.efficiency:.2f} | {s.rounds} |"
    yield ""
    yield from _verdict(study)
    yield ""


def _verdict(study: dict[str, Any]) -> Iterator[str]:
    if not any(one["way"] == "slots" for one in study["runs"]):
        return
    s = summary(study, "slots", clock(study))
    kept, won = "reached" if s.efficiency >= 0.9 else "missed", "reached" if s.gain >= 1.5 else "missed"
    yield (
        f"Aims: efficiency of slots at least 0.9: {s.efficiency:.2f}, {kept}; at least 1.5 times padded batches: "
        f"{s.gain:.2f}, {won}. The largest difference of any pixel from the same picture one by one is "
        f"{s.difference if s.difference is not None else float('nan'):.1e}."
    )


def _ending(studies: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "## How to repeat it"
    yield ""
    yield "```sh"
    for study in studies:
        names = ("prior", "precision", "method", "degradation", "images", "size", "batch", "steps", "device")
        options = " ".join(f"--{name} {study[name]}" for name in names)
        yield f"OMP_NUM_THREADS={study['threads']} python -m pellucid.bench.throughput run {options}"
    yield "python -m pellucid.bench.throughput page"
    yield "```"
    if not any(study["device"].startswith("cuda") for study in studies):
        yield ""
        yield (
            "None of this was measured on a GPU. `--device cuda` measures it there, where a call on a "
            "few pictures costs about what a full batch costs, so that one by one and shrinking batches must lose more."
        )
    yield ""
