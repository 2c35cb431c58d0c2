"""`python -m pellucid.bench.claims.blind`: what it is worth to flash to know the blur; docs/blind.md."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from torch import Tensor

from pellucid import zoo
from pellucid.bench.claims.hard import opened, setup_of
from pellucid.bench.claims.results import MissingResults
from pellucid.bench.data import collect, stacked
from pellucid.bench.hashes import of_network
from pellucid.bench.measuring import number
from pellucid.bench.plan import Data
from pellucid.bench.run import save_json
from pellucid.blind import estimated_operator, estimated_specs
from pellucid.budget import within
from pellucid.cli.console import say
from pellucid.images.atomic import replacing
from pellucid.loop import Result, reconstruct
from pellucid.method import Method
from pellucid.methods import ae, flash
from pellucid.metrics.effnet import effnet_distance
from pellucid.metrics.pixels import psnr
from pellucid.metrics.statistics import Summary, paired, summarise
from pellucid.noise import SeededNoise
from pellucid.operators import Operator, parse
from pellucid.operators.each import each
from pellucid.operators.unknown import Unknown
from pellucid.prior.base import Prior
from pellucid.problem import Problem

ROOT = Path(__file__).resolve().parents[4]
RESULTS, PAGE = ROOT / "bench/results/flash", ROOT / "docs/blind.md"
LOW, HIGH, NOISE, NFE = 0.3, 3.0, 0.05, 50
SOUGHT, INNER = "gaussian-blur:std=?", "ldps"
GIVEN, ESTIMATED, LEFT, MIDDLE = "given", "estimated", "left to the encoder", "assumed"
BUDGET, ALONE = "given, half the calls", "no diffusion"
WORDS = {
    GIVEN: "the true width, as in the paper's code",
    ESTIMATED: "told from the measurement: `-A gaussian-blur:std=?`",
    LEFT: "no operator, the prior alone: `-A unknown --set inner=none`",
    MIDDLE: f"the middle of the range for all, {(LOW + HIGH) / 2:g}",
    BUDGET: "the true width, `--max-nfe` at half the mean number of calls",
    ALONE: "the encoder's estimate, decoded: `-m ae`",
}
INTRODUCTION = """\
# When the blur is not known

Of a photograph out of focus nobody knows the width of the blur. The severity encoder of `flash` never does: it sees the
measurement alone, and says from it where to begin. What comes after, the method that holds the steps to the
measurement, needs the operator, and there are three ways.

- It is given: `-A gaussian-blur:std=2`. That is what the published code does, with the true one.
- It is told from the measurement: `-A "gaussian-blur:std=?"`. A small network on the encoder's features does it.
- It is not asked for: `--set inner=none`. All that is known of the measurement is then what the encoder says.

      pellucid restore photo.png -A "gaussian-blur:std=?" -n 0.05 -m flash --prior photo-latent
      pellucid restore photo.png -A "gaussian-blur:std=?" -n 0.05 -m flash --prior photo-latent --set inner=none
      pellucid restore photo.png -A unknown -m flash --prior photo-latent --set inner=none \\
          --set encoder=photo-severity-blur

A `?` may stand for any number that a network was trained to tell ([training](training.md)), and works with any method;
`--dry-run` shows what it says. Methods that ask what the operator does refuse `unknown`."""
ADVICE = """\
## A budget

`--max-nfe 20` gives a batch of pictures 20 network calls each in the mean: all begin later, by one share of their way,
so that hard ones still take more steps than easy ones. `--seconds 600` does it by the clock, from the measured time of
a few steps. Both print what they chose (`share=`), and `--set share=...` repeats it for one picture alone. In Python:

    from pellucid.budget import within
    method = within(flash(), problem, prior, nfe=20)"""

Run = Mapping[str, Any]

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


def study(
    prior: Prior, setup: Mapping[str, Any], data: Data, out: Path, encoder: str, head: str, inner: str = INNER
) -> dict[str, Any]:
    """Runs what `out` does not hold yet, all pictures in one batch, and writes it after every way.

    Args:
        prior: of latents.
        setup: what names the prior; a run goes on only in a file of the same.
        data: the pictures, of one shape; their names decide widths, noise and seeds.
        out: a JSON file.
        encoder: the severity encoder's name.
        head: of the network that tells the width.
        inner: the method that flash goes on with, where the operator is known.

    Raises:
        ConfigError: the file is of other pictures, or of other networks.
    """
    images = collect(data)
    x, names = stacked(data, images), [image.name for image in images]
    shape, widths = tuple(x.shape[1:]), [width_of(name) for name in names]
    networks = {"encoder": [encoder, of_network(zoo.find(encoder))], "head": [head, of_network(zoo.find(head))]}
    about = {"pictures": names, "sha256": [image.sha256 for image in images], "size": data.size, "std": widths}
    other = {} if inner == INNER else {"inner": inner}
    whole = opened(out, {**setup, **networks, **about, "noise": NOISE, "nfe": NFE, **other})
    operator = each([parse(f"gaussian-blur:std={std}").build(shape) for std in widths])
    clean = operator(x)
    noise = SeededNoise([number("noise", name) for name in names]).normal(clean, 0, "measurement")
    y, seeds = clean + NOISE * noise, [number("seed", name) for name in names]
    told = estimated_specs(SOUGHT, y, shape, head)
    whole["told"] = [float(str(dict(spec.parameters)["std"])) for spec in told]
    middle = parse(f"gaussian-blur:std={(LOW + HIGH) / 2:g}").build(shape)
    guided, alone = flash(inner, encoder, NFE), flash("none", encoder, NFE)

    def half() -> Method:
        mean = float(np.mean(whole["runs"][GIVEN]["nfe"]))
        return within(guided, Problem(y, operator, NOISE), prior, mean / 2)

    ways: dict[str, tuple[Operator, Callable[[], Method]]] = {
        ALONE: (Unknown(shape), lambda: ae(encoder)),
        LEFT: (Unknown(shape), lambda: alone),
        GIVEN: (operator, lambda: guided),
        ESTIMATED: (estimated_operator(SOUGHT, y, shape, head), lambda: guided),
        MIDDLE: (middle, lambda: guided),
        BUDGET: (operator, half),
    }
    for name, (known, make) in ways.items():
        if name not in whole["runs"]:
            result = reconstruct(Problem(y, known, NOISE), prior, make(), seeds=seeds)
            whole["runs"][name] = scored(result, x)
            save_json(out, whole)
            say(f"{name}: {_line(whole['runs'][name])}")
    return whole


def width_of(name: str) -> float:
    """The width of the blur of the picture of that name, evenly distributed."""
    return round(float(np.random.default_rng(number("std", name)).uniform(LOW, HIGH)), 4)


def scored(result: Result, x: Tensor) -> dict[str, Any]:
    """What a way gave, picture by picture, and what it cost."""
    scores = {"psnr": psnr(result.image, x), "effnet_distance": effnet_distance(result.image.clamp(0, 1), x)}
    rounded = {name: [round(float(v), 5) for v in values] for name, values in scores.items()}
    return {**rounded, "nfe": result.nfe.tolist(), "seconds": round(result.seconds, 2)}


def _line(run: Run) -> str:
    means = {name: float(np.mean(run[name])) for name in ("psnr", "effnet_distance", "nfe")}
    return ", ".join(f"{name} {value:.4g}" for name, value in means.items())


def text(folder: Path) -> str:
    """docs/blind.md. Raises `MissingResults`."""
    path = folder / "blind.json"
    if not path.is_file():
        raise MissingResults(f"{path} is not there")
    whole: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    made = "<!-- made by `python -m pellucid.bench.claims.blind page` from bench/results/flash; change it there -->"
    return "\n\n".join([made, INTRODUCTION, *_experiment(whole), ADVICE]) + "\n"


def _experiment(whole: Mapping[str, Any]) -> Iterator[str]:
    setup, runs = whole["setup"], whole["runs"]
    told, true = np.array(whole["told"]), np.array(setup["std"])
    error, constant = np.abs(told - true), np.abs(true - (LOW + HIGH) / 2)
    yield "## What knowing is worth"
    yield (
        f"{len(true)} held-out photographs, {setup['size']} x {setup['size']} in the middle, blurred by Gaussians of "
        f"{LOW:g} to {HIGH:g} pixels, noise {NOISE:g}. Prior `{setup['prior']}`, encoder `{setup['encoder'][0]}`, "
        f"`flash` with `inner={setup.get('inner', INNER)}` where the operator is known, and {NFE} steps for the whole "
        f"way, of which each picture takes its own last ones. "
        f"`{setup['head'][0]}` tells the width to {error.mean():.2f} pixels in the mean, {error.max():.2f} at most "
        f"(correlation {np.corrcoef(told, true)[0, 1]:.3f}); the middle of the range is {constant.mean():.2f} off."
    )
    rows = ["| the operator is | PSNR / dB | feature distance | calls | PSNR less that of given | distance, likewise |"]
    rows.append("|---|---|---|---|---|---|")
    for name in (name for name in WORDS if name in runs):
        rows.append("| " + " | ".join([f"{name}: {WORDS[name]}", *_cells(runs[name], runs[GIVEN], name)]) + " |")
    yield "\n".join(rows)
    yield (
        "Feature distance is `effnet_distance` ([metrics](metrics.md)), the lower the better. In brackets: bootstrap "
        "intervals of 95 % over the pictures; an interval without 0 says that the ways differ. "
        f"{' '.join(_findings(runs))} `python -m pellucid.bench.claims.blind run` measures it again."
    )


def _cells(run: Run, given: Run, name: str) -> Iterator[str]:
    for column, digits in (("psnr", 2), ("effnet_distance", 4)):
        found = summarise(run[column])
        yield f"{found.mean:.{digits}f}"
    yield f"{np.mean(run['nfe']):.1f}"
    for column, digits in (("psnr", 2), ("effnet_distance", 4)):
        yield "" if name == GIVEN else _difference(paired(run[column], given[column]), digits)


def _difference(found: Summary, digits: int) -> str:
    return f"{found.mean:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"


def _findings(runs: Mapping[str, Run]) -> Sequence[str]:
    """What the intervals allow to say of the three ways."""
    said = []
    for name, words in ((ESTIMATED, "the estimated width"), (LEFT, "no operator at all"), (MIDDLE, "a wrong width")):
        for column, what, better in (("psnr", "PSNR", 1), ("effnet_distance", "feature distance", -1)):
            found = paired(runs[name][column], runs[GIVEN][column])
            if found.low > 0 or found.high < 0:
                verdict = "better" if found.mean * better > 0 else "worse"
                said.append(f"With {words} the {what} is {verdict} than with the true one.")
            else:
                said.append(f"With {words} the {what} is not distinguishable from that with the true one.")
    if ALONE in runs and paired(runs[ALONE]["psnr"], runs[GIVEN]["psnr"]).low > 0:
        said.append(
            "The decoded estimate has a higher PSNR than what this inner method makes of it, even with the true width: "
            "why is not tested here. Its rows compare widths with each other; against the others they do not tell what "
            "knowing the operator is worth."
        )
    return said


@app.command()
def run(
    out: Annotated[Path, typer.Argument(help="A JSON file; a run that was cut short goes on in it.")] = RESULTS
    / "blind.json",
    folder: Annotated[Path, typer.Option(help="Of pictures.")] = Path("../shared/photos/eval"),
    pictures: Annotated[int, typer.Option(help="The first so many, in one batch.")] = 16,
    size: Annotated[int, typer.Option(help="Side of the crop in pixels.")] = 128,
    prior: Annotated[str, typer.Option(help="Of latents: a name or a folder.")] = "photo-latent",
    precision: Annotated[str, typer.Option(help="float32 or bfloat16, for all.")] = "bfloat16",
    encoder: Annotated[str, typer.Option(help="A severity encoder.")] = "photo-severity-blur",
    head: Annotated[str, typer.Option(help="A network that tells the width.")] = "photo-blur-std",
    inner: Annotated[str, typer.Option(help="What flash goes on with where the operator is known.")] = INNER,
) -> None:
    """PSNR and feature distance of flash with the blur given, estimated, and left to the encoder."""
    data = Data(folder, size=size, crop="centre", count=pictures)
    out.parent.mkdir(parents=True, exist_ok=True)
    study(zoo.load(prior, "cpu", precision), setup_of(prior, precision), data, out, encoder, head, inner)


@app.command()
def page(
    check: Annotated[bool, typer.Option("--check", help="Say whether it is up to date; write nothing.")] = False,
) -> None:
    """Write docs/blind.md from the result file."""
    made = text(RESULTS)
    stale = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != made
    if not check:
        with replacing(PAGE) as partial:
            partial.write_text(made, encoding="utf-8")
    say(f"{'wrote' if not check else 'out of date:' if stale else 'up to date:'} {PAGE}")
    sys.exit(int(check and stale))


if __name__ == "__main__":
    app()
