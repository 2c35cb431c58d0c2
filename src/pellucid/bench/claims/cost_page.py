"""docs/hard-consistency.md and claim R6, from bench/results/resample/hard.json and memory.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.bench.claims.hard import OURS, PAPER, RELEASED, STEPS, TASKS
from pellucid.bench.claims.memory import PAPER as TABLE
from pellucid.bench.claims.memory import shares
from pellucid.bench.claims.plots import _matplotlib
from pellucid.bench.claims.results import MissingResults, Results
from pellucid.bench.claims.verdict import Part
from pellucid.metrics.statistics import Summary, paired

Run = Mapping[str, Any]

MADE = "<!-- made by `python -m pellucid.bench.claims.costs page` from bench/results/resample; change it there -->"
INTRODUCTION = """\
# What hard data consistency costs

At some steps ReSample solves an optimisation through the decoder. As published that is thousands of decoder gradients
a picture, far more than the network's passes. The default of `resample` here replaces most of them: on pictures it
projects by the operator's structure, on latents it takes a few L-BFGS steps from a warm start, and it runs 50 steps of
the sampler in place of 500. This page says what that costs and what it gives."""
EXPERIMENT = (
    "`python -m pellucid.bench.claims.costs memory`: networks of LDM-VQ-4's and ADM's shape with random weights, 256 "
    "pixels, one process each; measured once, so without intervals. See [hard consistency](hard-consistency.md)."
)
ADVICE = """\
## What it means for you

- `pellucid restore photo.png -m resample --prior photo-latent` is the fast way. `--set every=10` acts at every tenth
  step in place of every second: fewer passes.
- `--set latent_steps=12` takes more L-BFGS steps at every visit. It fits the measurement closer, not always the
  picture: see the curve.
- The published sampler is there for comparison: `--set as_released=true`. Expect the ratios of the table.
- Short of memory: `--save-memory`, in Python `pellucid.zoo.load("photo-latent", checkpoint=True)`, for latent priors.
  The decoder's gradient is then computed part by part; it is the same to rounding and takes two (float32) to two and a
  half times (bfloat16) as long. `--precision bfloat16` saves some more."""


def runs(folder: Path, name: str) -> dict[str, Any]:
    """A study's file. Raises `MissingResults`."""
    path = folder / f"{name}.json"
    if not path.is_file():
        raise MissingResults(f"{path} is not there")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def mean(run: Run, column: str) -> float:
    """Over the pictures."""
    return float(np.mean(run[column]))


def difference(run: Run, other: Run) -> Summary:
    """PSNR of `run` less that of `other`, picture by picture, with the bootstrap interval."""
    return paired(run["psnr"], other["psnr"])


def text(folder: Path) -> str:
    """The page, from what was run so far."""
    blocks = [MADE, INTRODUCTION]
    for section in (_speed, _memory):
        try:
            blocks += section(folder)
        except MissingResults:
            continue
    return "\n\n".join([*blocks, ADVICE]) + "\n"


def _speed(folder: Path) -> Iterator[str]:
    whole = runs(folder, "hard")
    setup = whole["setup"]
    count = len(setup["pictures"])
    yield "## Time"
    several = f"{count} pictures of {setup['size']} x {setup['size']} in one batch"
    options = f"--pictures {count} --size {setup['size']} --precision {setup['precision']}"
    yield f"""\
Prior `{setup["prior"]}` ({setup["fingerprint"][:12]}), {several}, noise {setup["noise"]:g}, {setup["precision"]}, one
thread of {whole["machine"]["processor"]}: `python -m pellucid.bench.claims.costs hard {options}`.
Passes are per picture. Seconds are of the processor, for the whole batch, since other programs ran beside it. Memory is
the increment over the loaded prior within that run. The ratio is of decoder passes, forward and back, of
`{RELEASED}` over the row's; the difference in PSNR is the row's less that of `{RELEASED}`, with the bootstrap interval
over pictures{", which says little for so few" if count < 6 else ""}."""
    for task, found in whole["runs"].items():
        yield "\n".join(_table(task, found))
        yield _remark(found)
    done = {(task, name) for task, found in whole["runs"].items() for name in found}
    missing = [f"{name} on {task}" for task in TASKS for name in (RELEASED, PAPER) if (task, name) not in done]
    if missing:
        yield f"Not run yet: {', '.join(missing)}. The same command goes on where it stopped."
    yield "![PSNR against decoder passes](images/hard-consistency.png)"


def _table(task: str, found: Mapping[str, Run]) -> Iterator[str]:
    yield f"`{TASKS[task]}`:"
    yield ""
    heads = "variant | NFE | decodes | gradients | encodes | seconds | MB | PSNR / dB | passes, ratio | PSNR difference"
    yield f"| {heads} |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    reference = found.get(RELEASED)
    order = {OURS: 0, PAPER: 1, RELEASED: 2}
    for name, run in sorted(found.items(), key=lambda item: order.get(item[0], 3)):
        counts = " | ".join(f"{mean(run, column):.0f}" for column in ("nfe", "decodes", "decode_vjps", "encodes"))
        ratio = gain = ""
        if reference is not None and run is not reference:
            ratio = f"{passes(reference) / passes(run):.0f}x"
            number = difference(run, reference)
            gain = f"{number.mean:+.2f} [{number.low:+.2f}, {number.high:+.2f}]"
        yield (
            f"| {name} | {counts} | {run['processor_seconds']:.0f} | {run['peak_mb']:.0f} | {mean(run, 'psnr'):.2f} "
            f"| {ratio} | {gain} |"
        )


def _remark(found: Mapping[str, Run]) -> str:
    best = max(found, key=lambda name: mean(found[name], "psnr"))
    said = f"Highest PSNR of these: {best}, {mean(found[best], 'psnr'):.2f} dB"
    others = [name for name in ("25 steps", "every 10") if name in found and OURS in found]
    told = [
        f"{name}: {passes(found[name]) / passes(found[OURS]):.2g} times the passes of {OURS}, "
        f"{mean(found[name], 'psnr') - mean(found[OURS], 'psnr'):+.2f} dB"
        for name in others
    ]
    return "; ".join([said, *told]) + "."


def passes(run: Run) -> float:
    """Of the decoder, forward and back, a picture."""
    return mean(run, "decodes") + mean(run, "decode_vjps")


def draw(folder: Path, path: Path) -> None:
    """The curve: PSNR against decoder passes as the L-BFGS steps a visit go up, and the other variants."""
    whole = runs(folder, "hard")
    figure = _matplotlib()(figsize=(8, 3.6), layout="constrained")
    for place, (task, found) in enumerate(whole["runs"].items()):
        axes = figure.add_subplot(1, len(whole["runs"]), place + 1)
        names = {steps: OURS if steps == 3 else f"{steps} steps" for steps in STEPS}
        curve = {steps: found[name] for steps, name in names.items() if name in found}
        axes.plot([passes(r) for r in curve.values()], [mean(r, "psnr") for r in curve.values()], "o-", color="#0b6e4f")
        for steps, run in curve.items():
            axes.annotate(str(steps), (passes(run), mean(run, "psnr")), textcoords="offset points", xytext=(3, 5))
        for name, run in found.items():
            if name not in names.values():
                axes.plot(passes(run), mean(run, "psnr"), "s", color="#c84c09", markersize=4)
                left = name in (RELEASED, PAPER)  # they stand at the right edge
                axes.annotate(
                    name,
                    (passes(run), mean(run, "psnr")),
                    textcoords="offset points",
                    xytext=(-5 if left else 4, -10),
                    ha="right" if left else "left",
                )
        axes.set_xscale("log")
        axes.set_xlim(10, 30000)  # the same for all, and whole decades, which have room for their labels
        axes.set_title(TASKS[task], fontsize=10)
        axes.set_xlabel("decoder passes, forward and back, a picture")
        axes.set_ylabel("PSNR / dB")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, metadata={"Software": None})


def _memory(folder: Path) -> Iterator[str]:
    whole = runs(folder, "memory")
    setup = whole["setup"]
    yield "## Memory"
    options = f"--size {setup['size']} --precision {setup['precision']}"
    yield f"""\
Peak resident memory of a fresh process for each row, one picture of {setup["size"]} x {setup["size"]},
`{setup["operator"]}`, {setup["precision"]}, on the CPU: `python -m pellucid.bench.claims.costs memory {options}`.
Networks of the papers' shapes have random weights. The increment is over the process with the loaded prior. The paper
(Table 4) gives ReSample 3969 MB of model and 1040 MB beside it, +26 %, PSLD +140 %, DPS +175 %, on a GPU. Its model's
3969 MB are three times the weights in float32, so that they hold more than weights; what more, it does not say. Hence
two columns: percent of the weights alone, and percent beyond sampling without a measurement (`unconditional`, its
decoder as it comes), weights included. Checkpointing makes sampling alone smaller too, which the second column does not
deduct from the rows with `checkpoint`."""
    lines = ["| network | method | weights, MB | increment, MB | of the weights | beyond unconditional |"]
    lines += ["|---|---|---|---|---|---|"]
    for model, found in whole["runs"].items():
        for name, run in found.items():
            alone, beyond = shares(run, found.get("unconditional"))
            more = "" if name.startswith("unconditional") or np.isnan(beyond) else f"{beyond:+.0f} %"
            cells = (model, name, f"{run['weights_mb']:.0f}", f"{run['increment_mb']:.0f}", f"{alone:+.0f} %", more)
            lines.append(f"| {' | '.join(cells)} |")
    yield "\n".join(lines)
    verdicts = [f"- {p.what}: {p.figure}; aim {p.criterion}: {'met' if p.holds else 'missed'}." for p in parts(whole)]
    yield "\n".join(verdicts)


def parts(whole: Mapping[str, Any]) -> Iterator[Part]:
    """R6, on LDM-VQ-4's shape and ADM's; measured once each, so without intervals. Raises `MissingResults`."""
    try:
        found = whole["runs"]["ldm-vq-4"]
        idle, hard = found["unconditional"], found["resample, checkpoint"]
        others = {name: found[name] for name in ("psld", "ldps")}
        pixels = whole["runs"]["adm-ffhq"]
    except KeyError as error:
        raise MissingResults(f"memory.json lacks {error}") from error
    alone, beyond = shares(hard, idle)
    yield _at_most("resample with checkpoint, increment beyond unconditional sampling", beyond, TABLE["resample"])
    yield _at_most("resample with checkpoint, increment in percent of the weights", alone, TABLE["resample"])
    if spared := found.get("unconditional, checkpoint"):
        number = shares(hard, spared)[1]
        yield _at_most("the same beyond unconditional sampling with checkpoint", number, TABLE["resample"])
    for name, run in {**others, "dps": pixels["dps"]}.items():
        base = pixels["unconditional"] if name == "dps" else idle
        number = shares(run, base)[1]
        what = f"{name}, increment beyond unconditional sampling, over that of resample with checkpoint"
        yield Part(what, "more than 0 points", f"{number - beyond:+.0f} points", number > beyond)


def _at_most(what: str, number: float, bound: float) -> Part:
    return Part(what, f"at most {bound:g} %", f"{number:+.0f} %", number <= bound)


def r6(results: Results) -> Iterator[Part]:
    """Hard consistency takes less memory than a gradient through network, decoder and encoder."""
    yield from parts(runs(results.folder, "memory"))
