"""docs/severity.md and claim F1, from bench/results/flash/severity.json."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import TextWrapper
from typing import Any

import numpy as np

from pellucid.bench.claims import cost_page
from pellucid.bench.claims.results import MissingResults, Results
from pellucid.bench.claims.severity_cost import PARTS, WHOLE
from pellucid.bench.claims.severity_figures import (
    along,
    between,
    effects,
    geometric,
    less,
    predicting,
    related,
    rising,
    table,
)
from pellucid.bench.claims.severity_plots import extremes, part
from pellucid.bench.claims.severity_study import ANY, BLUR, HEADS, MOTION, ONES, OPENING, REPEATS, SHIPPED, TUNED
from pellucid.bench.claims.verdict import Part, above
from pellucid.metrics.statistics import paired, summarise

Run = Mapping[str, Any]

MADE = (
    "<!-- made by `python -m pellucid.bench.claims.severity page` from bench/results/flash/severity.json; "
    "change it there -->"
)
INTRODUCTION = """\
# What a severity encoder knows

`flash` begins where a severity encoder says: from a measurement it tells a latent z_hat, and the variance of z_hat's
error. This page asks whether that variance is right, what it follows, and what the steps after it cost, on pictures
that no training saw; the temperature was fitted to half of them, and the first table has the other half. The
[method's page](methods/flash.md) has the equations."""
EXPERIMENT = (
    "`python -m pellucid.bench.claims.severity measure`: predicted and true variances of z_hat's error on 24 held-out "
    "pictures, 256 pixels, ten levels of blur each. See [severity](severity.md)."
)
RISES, FOLLOWS, EXPLAINED, RIGHT = 0.9, 0.5, 0.5, 0.8


def runs(folder: Path) -> dict[str, Any]:
    """What was measured. Raises `MissingResults`."""
    found: dict[str, Any] = cost_page.runs(folder, "severity")["runs"]
    return found


def text(folder: Path) -> str:
    """The page, from what was measured so far."""
    blocks = [MADE, INTRODUCTION]
    sections: tuple[Callable[[Run], Iterator[str]], ...] = (_errors, _blur, _opening, _heads, _families, _cost, _claim)
    try:
        found = runs(folder)
    except MissingResults:
        found = {}
    for section in sections:
        try:
            blocks += list(section(found))
        except MissingResults:
            continue
    return "\n\n".join(map(wrapped, blocks)) + "\n"


def wrapped(block: str) -> str:
    """Paragraphs at 120 characters; tables, lists, headings, pictures and remarks as they are."""
    lines = TextWrapper(120, break_long_words=False, break_on_hyphens=False)
    parts, kept = block.split("\n\n"), ("|", "-", "#", "!", "<")
    return "\n\n".join(part if part.startswith(kept) else lines.fill(part) for part in parts)


def rows(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    made = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return "\n".join([*made, *(f"| {' | '.join(line)} |" for line in lines)])


def _errors(found: Run) -> Iterator[str]:
    shipped = {name: found["errors"][name] for name in SHIPPED if name in found.get("errors", {})}
    if not shipped:
        raise MissingResults("no errors were measured")
    yield "## Predicted against true errors"
    count = len(next(iter(next(iter(shipped.values()))["sizes"].values()))["predicted"]) // REPEATS
    yield f"""\
Centre crops of {count} photographs, {REPEATS} degradations of each from the family that the encoder was trained for.
Both variances are per entry, in the prior's units; the predicted one is after the temperature, which was fitted to
{count} other photographs (256 pixels) and is in the encoder's card. The slope is of logarithms: 1 says that twice the
predicted variance is twice the error. Intervals are of 95 %, over photographs; "off by" is the factor that a calibrated
prediction errs by. The last column is the mean error of z_hat."""
    lines = []
    for name, entry in shipped.items():
        for size, run in entry["sizes"].items():
            known, rank = predicting(run, REPEATS)
            lines.append(
                [
                    f"`{name}`",
                    size,
                    between(rank),
                    f"{known.pearson:.2f}",
                    f"{known.pearson_log:.2f}",
                    f"{known.slope:.2f}",
                    f"{known.ratio:.2f}",
                    f"{known.spread:.2f}",
                    f"{np.mean(run['true']):.4f}",
                ]
            )
    heads = "encoder | pixels | Spearman | Pearson | of logs | slope | true / predicted | off by | error"
    yield rows(heads.split(" | "), lines)
    yield "![Predicted against true variance](images/severity-scatter.png)"


def _blur(found: Run) -> Iterator[str]:
    run = part(found, "blur", BLUR)
    (told, always), (true, truly) = rising(run["predicted"]), rising(run["true"])
    count, off = len(told), effects(run["predicted"])
    low, high = extremes(run)
    over, truth = (between(along(run["stds"], run[key])) for key in ("predicted", "true"))
    known, edges, fine = (related(off, v) for v in (effects(run["true"]), run["edges"], run["fine"]))
    factors = np.exp(np.mean(np.log(np.array(run["predicted"]) / np.array(run["true"])), axis=0))
    ratios = ", ".join(f"{factor:.2f}" for factor in factors)
    yield "## Blur of a fixed picture, and of all of them"
    yield f"""\
{count} photographs of 256 pixels, each blurred by {len(run["stds"])} levels from {run["stds"][0]} to {run["stds"][-1]}
pixels under one and the same noise, `{BLUR}`. Within a picture the rank correlation of
prediction and blur is {np.mean(told):.2f} in the mean and {told.min():.2f} at the least; in {always} of {count}
pictures the prediction rises at every level. Of the true error the same figures are {np.mean(true):.2f},
{true.min():.2f} and {truly}. Predicted over true, the geometric mean at each level from the weakest: {ratios}.

Over all pictures and levels the rank correlation of prediction and blur is {over}, and of the true
error and blur {truth}. The level of the corruption is one part of what makes a measurement hard; the
picture is the other. How far a picture's predictions lie from those of the others at equal blur (mean logarithm) has
the rank correlation {between(known)} with the same figure of the true errors, {between(edges)} with
the energy of the edges of the clean picture, and {between(fine)} with that of its fine structure."""
    yield "![Predicted and true error against blur](images/severity-blur.png)"
    yield f"""\
The pictures that lie farthest off, coloured above: thought easiest at the top (blue), hardest below (red). "Variance x"
is their factor at equal blur, {np.exp(off[low[0]]):.2f} to {np.exp(off[high[0]]):.2f}; edges are ranked, 1 is the
smoothest picture."""
    yield "![The outliers](images/severity-outliers.jpg)"


def _opening(found: Run) -> Iterator[str]:
    known = {light: found["opening"][light] for light in OPENING if light in found.get("opening", {})}
    if not known:
        raise MissingResults("the opening was not measured")
    yield "## A darkened picture, and a noisy one of the same PSNR"
    yield f"""\
The argument that the paper opens with: the PSNR of a measurement does not say how hard it is to restore. y = c x loses
nothing, for who knows c; noise of the same PSNR does lose something. Two encoders are shown both: `{ANY}`,
for which c is any from 0.2 to 1, so that a dark picture may as well be one of a dark scene, and one trained on c
of 0.5 and on pictures as they are (`papers/severity/dark.toml`), both with noise."""
    lines = []
    for light, entry in known.items():
        for c, run in entry["factors"].items():
            count = len(run["psnr"])
            lines.append(
                [
                    light,
                    c,
                    f"{np.mean(run['psnr']):.1f}",
                    f"{geometric(run['dark predicted'], run['noisy predicted']):.2f}",
                    f"{geometric(run['dark true'], run['noisy true']):.2f}",
                    f"{less(run['dark predicted'], run['noisy predicted'])} of {count}",
                    f"{less(run['dark true'], run['noisy true'])} of {count}",
                ]
            )
    heads = (
        "trained on | c | PSNR / dB | noisy / dark, predicted | noisy / dark, true | dark thought easier | dark easier"
    )
    yield rows(heads.split(" | "), lines)
    yield _known(list(known.values()))
    yield "![Darkened against noisy](images/severity-opening.png)"


def _known(entries: Sequence[Run]) -> str:
    """Whether the encoders know which of the two is easier, where one is."""
    cases = [run for entry in entries for run in entry["factors"].values()]
    told, true = (sum(less(run[f"dark {key}"], run[f"noisy {key}"]) for run in cases) for key in ("predicted", "true"))
    count = sum(len(run["psnr"]) for run in cases)
    said = f"Of all {count} pairs the darkened picture is the easier one in {true}, and thought to be in {told}."
    if 2 * told > count:
        return said
    return f"""\
{said} So the shipped and the short trainings do not bear the argument out: they undo the darkening about as badly as
the noise, and take it for the harder of the two. A network of four figures of the picture that is trained to the end,
on pictures from black to white, where the light can be told, does (a test in `tests/test_severity.py`)."""


def _heads(found: Run) -> Iterator[str]:
    present = [name for name in HEADS if name in found.get("errors", {})]
    if not present:
        raise MissingResults("no heads were compared")
    steps = {found["errors"][name]["encoders"][HEADS[name]].get("steps") for name in present}
    yield "## A number or a map"
    yield f"""\
The paper's head is a convolution of z_hat itself, and its loss compares one variance a picture. Two changes, each
trained as the others ({" and ".join(f"{s}" for s in sorted(steps))} steps): the head sees the features that z_hat is
made of, and the loss compares the variance of every entry with its squared error (the diagonal of the covariance). The
start is then matched to the mean of the map."""
    lines = []
    for name in present:
        for size, run in found["errors"][name]["sizes"].items():
            known, rank = predicting(run, REPEATS)
            within = f"{np.mean(run['map']):+.2f}"
            error = f"{np.mean(run['true']):.4f}"
            lines.append([name, size, between(rank), f"{known.slope:.2f}", f"{known.spread:.2f}", error, within])
    heads = "head and loss | pixels | Spearman | slope | off by | error of z_hat | within a picture"
    yield rows(heads.split(" | "), lines)
    yield _within(found)
    yield from _reductions(found)


def _within(found: Run) -> str:
    said = (
        "The last column is the rank correlation of predicted and squared error over blocks of 4 x 4 latents within a "
        "picture, in the mean"
    )
    if BLUR not in found["errors"]:
        return f"{said}."
    sizes = found["errors"][BLUR]["sizes"]
    run = sizes[max(sizes, key=int)]
    own, seen = table(run["map"], REPEATS), table(run["edges"], REPEATS)
    gain = paired(own.mean(1), seen.mean(1))
    return (
        f"{said}. The map of `{BLUR}` has {between(summarise(own.mean(1)))} there. The energy of the measurement's "
        f"edges at the same places, which needs no training, has {between(summarise(seen.mean(1)))}; the difference is "
        f"{_signed(gain)}."
    )


def _reductions(found: Run) -> Iterator[str]:
    run = found.get("quality")
    if run is None:
        return
    names = ("every 1", "geometric mean", "harmonic mean", "mean, lowered")
    known = [name for name in names if name in run["rows"]]
    yield f"""\
Other means of the map start later, as they are smaller. Whether that says more than the mean does, `flash` with
{run["nfe"]} times and Latent-DPS tells, on {len(run["stds"])} pictures of 128 pixels, each blurred by a level of its
own. "Mean, lowered" is the control: the mean times {run["lowered by"]:.2f}, which is the geometric mean on average. The
option is `reduce` of `pellucid.severity.NetworkSeverity`."""
    labels = {"every 1": "mean (the default)"}
    yield _quality_table(run, known, labels)


def _quality_table(run: Run, names: Sequence[str], labels: Mapping[str, str]) -> str:
    base = run["rows"]["every 1"]
    lines = []
    for name in names:
        row = run["rows"][name]
        gain = far = ""
        if name != "every 1":
            gain = _signed(paired(row["psnr"], base["psnr"]))
            far = _signed(paired(row["effnet_distance"], base["effnet_distance"]), 3)
        lines.append(
            [
                labels.get(name, name),
                f"{np.mean(row['nfe']):.0f}",
                f"{np.mean(row['vjp']):.0f}",
                f"{np.mean(row['processor_seconds']):.2f}",
                f"{np.mean(row['psnr']):.2f}",
                gain,
                f"{np.mean(row['effnet_distance']):.3f}",
                far,
            ]
        )
    heads = "flash | NFE | gradients | seconds | PSNR / dB | difference | feature distance | difference"
    return rows(heads.split(" | "), lines)


def _signed(number: Any, digits: int = 2) -> str:
    return f"{number.mean:+.{digits}f} [{number.low:+.{digits}f}, {number.high:+.{digits}f}]"


def _families(found: Run) -> Iterator[str]:
    known = {family: found["families"][family] for family in ONES if family in found.get("families", {})}
    if not known:
        raise MissingResults("families were not measured")
    abouts = {name: about for entry in known.values() for name, about in entry["encoders"].items()}
    steps = [abouts[ANY]["steps"], *(about["steps"] for name, about in abouts.items() if name != ANY)]
    others = " and ".join(map(str, sorted(set(steps[1:]))))
    yield "## One encoder for several families"
    yield f"""\
`{ANY}` against an encoder of one family each, on that family at noise 0.05, 128 pixels. The one
for all learned in {steps[0]} steps, at noise from 0 to 0.2; the others in {others}, each at its own."""
    lines = []
    for family, name in ONES.items():
        if family not in known:
            continue
        for one in (name, ANY):
            run = known[family]["of"][one]["sizes"]
            of = run[max(run, key=int)]
            told, rank = predicting(of, REPEATS)
            error = f"{np.mean(of['true']):.4f}"
            lines.append([family, f"`{one}`", between(rank), f"{told.slope:.2f}", f"{told.ratio:.2f}", error])
    yield rows(["family", "encoder", "Spearman", "slope", "true / predicted", "error of z_hat"], lines)
    yield from _tuned(found)


def _tuned(found: Run) -> Iterator[str]:
    known = found.get("tuned", {})
    if not known or BLUR not in found.get("errors", {}):
        return
    card = found["errors"][BLUR]["encoders"][BLUR]
    each = card["seconds"] / card["steps"]
    yield f"""\
A family that none was trained for, `{MOTION}` at noise 0.05: training that begins from `{ANY}` (`init` in the
configuration) against training that begins from the autoencoder, as the others did, at 128 pixels. A step takes one
thread of the machine {each:.2f} s, as long as one of `{BLUR}` in its card: hence the seconds."""
    lines = []
    for name in (f"{ANY} as it is", *TUNED):
        if name not in known:
            continue
        entry = known[name]
        ((folder, about),) = entry["encoders"].items()
        run = entry["of"][folder]["sizes"]
        of = run[max(run, key=int)]
        rank = predicting(of, REPEATS)[1]
        spent = "" if folder == ANY else f"{each * about['steps']:.0f}"
        lines.append([name.replace(ANY, f"`{ANY}`"), spent, between(rank), f"{np.mean(of['true']):.4f}"])
    yield rows(["", "seconds", "Spearman", "error of z_hat"], lines)


def _cost(found: Run) -> Iterator[str]:
    if "split" not in found:
        raise MissingResults("the split was not measured")
    yield "## What a step of Latent-DPS costs"
    yield """\
One picture, Gaussian blur, `photo-latent`, one thread: `python -m pellucid.bench.claims.severity cost`. Milliseconds of
the processor, the least of twelve; the rest is what a whole step takes beyond the parts."""
    sizes = [size for size in found["split"] if size != "encoders"]
    lines = []
    whole = {size: found["split"][size]["steps"]["whole step"] for size in sizes}
    sums = {size: sum(found["split"][size]["parts"][name] for name in PARTS) for size in sizes}

    def line(name: str, value: Callable[[str], float]) -> list[str]:
        cells = [c for s in sizes for c in (f"{1e3 * value(s):.1f}", f"{100 * value(s) / whole[s]:.0f} %")]
        return [name, *cells]

    for name in PARTS:
        lines.append(line(name, lambda size, name=name: found["split"][size]["parts"][name]))  # type: ignore[misc]
    lines.append(line("rest", lambda size: whole[size] - sums[size]))
    for name in WHOLE:
        lines.append(line(name, lambda size, name=name: found["split"][size]["steps"][name]))  # type: ignore[misc]
    heads = ["", *(c for size in sizes for c in (f"{size} pixels: ms", "share"))]
    yield rows(heads, lines)
    yield from _sparing(found)


def _sparing(found: Run) -> Iterator[str]:
    run = found.get("quality")
    if run is None:
        return
    names = [n for n in run["rows"] if n.startswith("every")]
    names += [n for n in ("network's eps held", "no consistency", "no diffusion") if n in run["rows"]]
    labels = {
        "every 1": "Latent-DPS at every step",
        **{f"every {k}": f"at every {k}th step: `inner=ldps:every={k}`" for k in (5, 10)},
        "every 2": "at every 2nd step: `inner=ldps:every=2`",
        "network's eps held": "`inner=ldps:through_network=false`",
        "no consistency": "the prior alone: `inner=none`",
        "no diffusion": "z_hat decoded: `ae`",
    }
    yield f"""\
What flash loses where a part is left out: {len(run["stds"])} pictures of 128 pixels, blur from {min(run["stds"])} to
{max(run["stds"])} pixels, noise 0.05, `{BLUR}`, {run["nfe"]} times, differences to the first row with intervals over
pictures. Consistency without the decoder needs no method of its own: z_hat is the measurement in the latent space, and
alpha z_hat at t* is already the state that a Gaussian likelihood z_hat = z_0 + e of that variance asks for, so that the
prior alone (`inner=none`) draws from its posterior, as far as the error is white."""
    yield _quality_table(run, names, labels)
    yield _said(run, names)


def _said(run: Run, names: Sequence[str]) -> str:
    """What of the table is beyond doubt."""
    base = run["rows"]["every 1"]
    said = []
    for column, name in (("psnr", "PSNR"), ("effnet_distance", "feature distance")):
        gains = {other: paired(run["rows"][other][column], base[column]) for other in names[1:]}
        apart = [other for other, gain in gains.items() if gain.low > 0 or gain.high < 0]
        said.append(f"In {name} the intervals set apart from the first row: {', '.join(apart) or 'none'}.")
    spent = {name: float(np.mean(run["rows"][name]["processor_seconds"])) for name in names}
    shares = ", ".join(f"{name} {spent[name] / spent['every 1']:.0%}" for name in names[1:])
    return f"{' '.join(said)} Of its seconds they take: {shares}."


def _claim(found: Run) -> Iterator[str]:
    lines = [
        f"- {p.what}: {p.figure}; aim {p.criterion}: "
        f"{'met' if p.holds else 'missed' if p.holds is False else 'undecided'}."
        for p in parts(found)
    ]
    yield "## The paper's claim"
    yield "F1, Fig. 3 of the paper, and the rank correlation of predicted and true error that is asked for here:"
    yield "\n".join(lines)


def parts(found: Run) -> Iterator[Part]:
    """F1. Raises `MissingResults`."""
    run = part(found, "blur", BLUR)
    off = effects(run["predicted"])
    within = summarise(rising(run["predicted"])[0])
    yield _at_least("rank correlation of prediction and blur within a picture, mean", within, RISES)
    over = along(run["stds"], run["predicted"])
    yield _at_least("rank correlation of prediction and blur over pictures", over, FOLLOWS)
    detail = related(off, run["edges"])
    yield _at_least("rank correlation of the distance from the rest and the edges of the picture", detail, EXPLAINED)
    errors = part(found, "errors", BLUR)["sizes"]
    rank = predicting(errors[max(errors, key=int)], REPEATS)[1]
    yield _at_least("rank correlation of predicted and true error", rank, RIGHT)


def _at_least(what: str, number: Any, bound: float) -> Part:
    return Part(what, f"at least {bound:g}", between(number), above(number, bound))


def f1(results: Results) -> Iterator[Part]:
    """Severity rises with blur, follows the level over pictures, and its outliers have unusual detail or none."""
    yield from parts(runs(results.folder))
