"""docs/reproduction.md from the result files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pellucid.bench.claims import plots
from pellucid.bench.claims.claim import CLAIMS, Claim
from pellucid.bench.claims.papers import PAPERS, Paper
from pellucid.bench.claims.results import MissingResults, Results
from pellucid.bench.claims.verdict import Part, verdict
from pellucid.cli.console import say
from pellucid.images.atomic import replacing

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "docs" / "reproduction.md"
IMAGES = ROOT / "docs" / "images" / "reproduction"
RESULTS = ROOT / "bench" / "results"
MADE = "<!-- made by `python -m pellucid.bench.claims page` from bench/results; change it there -->"
SIGN = {True: "yes", False: "no", None: "undecided"}
UNRUN = "not yet tested: its experiment was not run"
COLUMNS = (("psnr", "PSNR / dB", ".2f"), ("ssim", "SSIM", ".3f"), ("effnet_distance", "feature distance", ".4f"))

INTRODUCTION = """\
# What the papers claim, and what became of it here

Every claim is split into parts. A part has a criterion that follows from the claim, and holds if the whole 95 %
interval of its figure meets it, is refuted if none of the interval does, and is undecided otherwise. All parts hold:
**reproduced**. Some do: **partly**. None does and at least one is refuted: **not reproduced**. None is decided: **not
testable here**. The verdicts are computed from the result files; none is written by hand.

The papers' numbers belong to their priors, which are fifteen to seventy times larger than the ones used here. So
directions and ratios are tested, not values."""

READING = """\
Differences are paired: the same pictures, measurements and seeds for both methods, the interval a bootstrap (BCa,
10000 resamples) over pictures. "Feature distance" is `effnet_distance` and "Fréchet distance" `effnet_frechet`, both in
the features of EfficientNet-Lite0; they stand in for LPIPS and FID, and are neither. Their differences are in percent
of the second method's. Intervals of Fréchet distances are quantiles over 100 resamples of the pictures, with which such
a distance has a bias that mostly cancels in a difference. An interval says how sure the figure is for pictures like
these, with this prior; of forty parts, two may well lie outside of theirs by chance. Where there are two or three
pictures, there is no interval: the part holds if all meet its criterion, is refuted if none does, and the figure is
all of theirs.

What was decided after looking: the tasks of Table 1 were run on 12 pictures first, and on all 24 once their intervals
had left many parts undecided; the parts of S5 on predicted noise and Theorem 1 were added after its first figures; what
stands under "causes" was tried after a claim had failed, and counts towards no verdict. Of ReSample, the parts and
their criteria were written before any of its results were seen; how many pictures, and which methods at 512 pixels and
on slices of 256, was cut to what a core could do, and the options were tried on a box after its hole had been looked
at. Of Flash-Diffusion, a half-trained encoder had been tried on eight pictures before the parts and their criteria were
written; after the first twelve pictures a fixed start of 2 steps and shares of the predicted steps were added to its
starts, and after all sixteen the parts of F4 on Fréchet distance and the mixed batch; the pictures shown for F2 are
chosen. Of Dirac, a half-trained network had been tried on four pictures before the parts and their criteria were
written; the parts on Fréchet distance were added when the two distances had been seen to part on the pictures of the
tuning; and `photo-dirac-inpaint` was trained anew, shown where pixels stand in the hole, after a first one, shown the
measurement alone as in the paper, had fallen behind DDRM on these pictures."""


@dataclass(frozen=True)
class Tested:
    """A claim with what became of its parts.

    Attributes:
        claim: the claim.
        parts: empty where it was not tested.
        untested: why it was not; "" where it was.
    """

    claim: Claim
    parts: tuple[Part, ...]
    untested: str = ""

    @property
    def verdict(self) -> str:
        """For the table."""
        return self.untested or verdict(self.parts)

    @property
    def count(self) -> str:
        """How many parts hold."""
        held = [part.holds for part in self.parts]
        text = f"{held.count(True)} of {len(held)} parts hold, {held.count(False)} refuted"
        return f"{text}, {held.count(None)} undecided" if None in held else text


def test_all(folder: Path) -> list[Tested]:
    """Every claim, tested or not, on the results in `folder`, which has a folder for every paper."""
    return [_tested(claim, folder) for claim in CLAIMS]


def _tested(claim: Claim, folder: Path) -> Tested:
    paper = _paper(claim)
    try:
        return Tested(claim, tuple(paper.tests[claim.name](paper.results(folder))))
    except (MissingResults, KeyError):
        return Tested(claim, (), UNRUN)


def _paper(claim: Claim) -> Paper:
    """The paper that the claim is of."""
    return next(paper for paper in PAPERS if claim.name[0] == paper.letter)


def text(folder: Path) -> str:
    """The page, from the results of all papers."""
    tested = test_all(folder)
    blocks = [MADE, INTRODUCTION, "\n".join(_overview(tested)), "## How to read the figures", READING]
    blocks += _settings(folder)
    for one in tested:
        if one.parts:
            paper = _paper(one.claim)
            blocks += _section(one, paper, paper.results(folder))
    blocks += _numbers(folder)
    return "\n\n".join(blocks) + "\n"


def _overview(tested: list[Tested]) -> Iterator[str]:
    yield "| claim | paper | what it says | verdict | parts |"
    yield "|---|---|---|---|---|"
    for one in tested:
        claim = one.claim
        name = f"[{claim.name}](#{claim.name.lower()})" if one.parts else claim.name
        strong = f"**{one.verdict}**" if one.parts else one.verdict
        said = f"{claim.text} ({claim.where})"
        yield f"| {name} | {claim.paper} | {said} | {strong} | {one.count if one.parts else ''} |"


def _section(one: Tested, paper: Paper, results: Results) -> Iterator[str]:
    claim = one.claim
    yield f"## {claim.name}"
    yield f"{claim.paper}, {claim.where}: {claim.text}"
    yield f"**{one.verdict.capitalize()}**: {one.count}. {paper.experiments[claim.name]}"
    lines = ["| part | criterion | figure, 95 % interval | holds |", "|---|---|---|---|"]
    lines += [f"| {p.what} | {p.criterion} | {p.figure} | {SIGN[p.holds]} |" for p in one.parts]
    yield "\n".join(lines)
    if claim.name in paper.plots:
        yield f"![{paper.plots[claim.name][0]}](images/reproduction/{claim.name.lower()}.png)"
    for _, strip in paper.strips.get(claim.name, ()):
        if (results.folder / strip.file).is_file():
            yield f"![{strip.title}](../bench/results/{paper.name}/{strip.file})"
    if one.verdict != "reproduced" and (found := paper.causes(claim.name, results)):
        yield found
    if found := paper.remarks(claim.name, results):
        yield found


def _settings(folder: Path) -> Iterator[str]:
    lines = ["## What was run", ""]
    lines += [
        "| command | pictures | prior's weights, precision | reconstruction, wall time on a busy core |",
        "|---|---|---|---|",
    ]
    heads = len(lines)
    for paper in PAPERS:
        results = paper.results(folder)
        if results.provenance:
            lines += [f"| `python -m pellucid.bench.claims {study}` | | | |" for study in paper.before]
        lines += [_ran(name, record) for name, record in results.provenance.items()]
        for study in paper.studies:
            try:
                count = len({row["image"] for row in results.table(study)})
            except MissingResults:
                continue
            command = f"python -m pellucid.bench.claims {study} runs/{study}.csv --count {count}"
            lines.append(f"| `{command}` | {count} of 128 x 128, square | as above | |")
        if results.provenance:
            lines.append(f"| `python -m pellucid.bench.claims collect {paper.name} runs` | | | |")
    if len(lines) > heads:
        lines.append("| `python -m pellucid.bench.claims page` | | | |")
        yield "\n".join(lines)


def _ran(name: str, record: dict[str, Any]) -> str:
    weights = ", ".join(f"{p} {str(digest)[:12]}" for p, digest in dict(record["weights"]).items())
    size = "" if record["size"] is None else f" of {record['size']} x {record['size']}, {record['crop']}"
    command = f"pellucid bench {record['source']} -o runs/{name}"
    seconds = f"{record['seconds']} s"
    return f"| `{command}` | {record['pictures']}{size} | {weights}, {record['precision']} | {seconds} |"


def _numbers(folder: Path) -> Iterator[str]:
    """The means behind the differences."""
    first = True
    for paper in PAPERS:
        results = paper.results(folder)
        try:
            keys = results.groups
        except MissingResults:
            continue
        if first:
            yield "## The means"
            first = False
        for plan in dict.fromkeys(key[0] for key in keys):
            title = f"{results.provenance[plan]['title']}:"
            yield "\n".join([title, "", *_means(results, plan, [key[1:] for key in keys if key[0] == plan])])


def _means(results: Results, plan: str, groups: list[tuple[str, str]]) -> Iterator[str]:
    """A table with the columns that were measured."""
    measured = [column for column in COLUMNS if results.has(plan, *groups[0], column[0])]
    frechet = results.has_sets(plan, *groups[0])
    names = [name for _, name, _ in measured] + ["Fréchet distance"] * frechet + ["residual"]
    yield f"| task | method | {' | '.join(names)} |"
    yield "|---|---" + "|---" * len(names) + "|"
    for task, label in groups:
        cells = [f"{results.values(plan, task, label, column).mean():{form}}" for column, _, form in measured]
        if frechet:
            cells.append(f"{results.frechet(plan, task, label)[0]:.0f}")
        cells.append(f"{results.values(plan, task, label, 'residual').mean():.4f}")
        yield f"| {task} | {label} | {' | '.join(cells)} |"


def write(*, check: bool = False) -> int:
    """Writes the page and its pictures, or only checks the page; 1 if it is out of date and is left so."""
    made = text(RESULTS)
    stale = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != made
    if check:
        say(f"{'out of date' if stale else 'up to date'}: {PAGE}")
        return int(stale)
    IMAGES.mkdir(parents=True, exist_ok=True)
    for paper in PAPERS:
        plots.draw(paper.results(RESULTS), IMAGES, paper.plots)
    with replacing(PAGE) as partial:
        partial.write_text(made, encoding="utf-8")
    say(f"wrote {PAGE}")
    return 0
