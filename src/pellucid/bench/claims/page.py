"""docs/reproduction.md from the result files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pellucid.bench.claims import causes, plots, ssd
from pellucid.bench.claims.claim import CLAIMS, Claim
from pellucid.bench.claims.results import MissingResults, Results
from pellucid.bench.claims.verdict import Part, verdict
from pellucid.cli.console import say
from pellucid.images.atomic import replacing

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "docs" / "reproduction.md"
IMAGES = ROOT / "docs" / "images" / "reproduction"
RESULTS = ROOT / "bench" / "results" / "ssd"
MADE = "<!-- made by `python -m pellucid.bench.claims page` from bench/results; change it there -->"
SIGN = {True: "yes", False: "no", None: "undecided"}
UNTESTED = "not yet tested: the method is not built"
UNRUN = "not yet tested: its experiment was not run"

INTRODUCTION = """\
# What the papers claim, and what became of it here

Every claim is split into parts. A part has a criterion that follows from the claim, and holds if the whole 95 %
interval of its figure meets it, is refuted if none of the interval does, and is undecided otherwise. All parts hold:
**reproduced**. Some do: **partly**. None does and at least one is refuted: **not reproduced**. None is decided: **not
testable here**. The verdicts are computed from the result files; none is written by hand.

The papers' numbers belong to their priors, which are fifteen to seventy times larger than the one used here. So
directions and ratios are tested, not values."""

READING = """\
Differences are paired: the same pictures, measurements and seeds for both methods, the interval a bootstrap (BCa,
10000 resamples) over pictures. "Feature distance" is `effnet_distance` and "Fréchet distance" `effnet_frechet`, both in
the features of EfficientNet-Lite0; they stand in for LPIPS and FID, and are neither. Their differences are in percent
of the second method's. Intervals of Fréchet distances are quantiles over 100 resamples of the pictures, with which such
a distance has a bias that mostly cancels in a difference. An interval says how sure the figure is for pictures like
these, with this prior; of forty parts, two may well lie outside of theirs by chance.

What was decided after looking: the tasks of Table 1 were run on 12 pictures first, and on all 24 once their intervals
had left many parts undecided; the parts of S5 on predicted noise and Theorem 1 were added after its first figures; what
stands under "causes" was tried after a claim had failed, and counts towards no verdict."""


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


def test_all(results: Results) -> list[Tested]:
    """Every claim, tested or not."""
    return [_tested(claim, results) for claim in CLAIMS]


def _tested(claim: Claim, results: Results) -> Tested:
    if claim.name not in ssd.TESTS:
        return Tested(claim, (), UNTESTED)
    try:
        return Tested(claim, tuple(ssd.TESTS[claim.name](results)))
    except MissingResults:
        return Tested(claim, (), UNRUN)


def text(results: Results) -> str:
    """The page."""
    tested = test_all(results)
    blocks = [MADE, INTRODUCTION, "\n".join(_overview(tested)), "## How to read the figures", READING]
    blocks += _settings(results)
    for one in tested:
        if one.parts:
            blocks += _section(one, results)
    blocks += _numbers(results)
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


def _section(one: Tested, results: Results) -> Iterator[str]:
    claim = one.claim
    yield f"## {claim.name}"
    yield f"{claim.paper}, {claim.where}: {claim.text}"
    yield f"**{one.verdict.capitalize()}**: {one.count}. {ssd.EXPERIMENTS[claim.name]}"
    lines = ["| part | criterion | figure, 95 % interval | holds |", "|---|---|---|---|"]
    lines += [f"| {p.what} | {p.criterion} | {p.figure} | {SIGN[p.holds]} |" for p in one.parts]
    yield "\n".join(lines)
    if claim.name in plots.PLOTS:
        yield f"![{plots.PLOTS[claim.name][0]}](images/reproduction/{claim.name.lower()}.png)"
    if claim.name == "S4" and (results.folder / plots.STRIP).is_file():
        yield f"![Inversion without back-projection](../bench/results/ssd/{plots.STRIP})"
    if one.verdict != "reproduced" and (found := causes.of(claim.name, results)):
        yield found


def _settings(results: Results) -> Iterator[str]:
    plans: Mapping[str, dict[str, object]] = results.provenance
    if not plans:
        return
    lines = ["## What was run", ""]
    lines += [
        "| command | pictures | prior's weights, precision | reconstruction, wall time on a busy core |",
        "|---|---|---|---|",
    ]
    for name, record in plans.items():
        source = record["source"]
        weights = ", ".join(f"{p} {str(digest)[:12]}" for p, digest in dict(record["weights"]).items())  # type: ignore[call-overload]
        pictures = f"{record['pictures']} of {record['size']} x {record['size']}, {record['crop']}"
        command = f"pellucid bench {source} -o runs/{name}"
        lines.append(f"| `{command}` | {pictures} | {weights}, {record['precision']} | {record['seconds']} s |")
    for study in ("inversion", "timing"):
        try:
            count = len({row["image"] for row in results.table(study)})
        except MissingResults:
            continue
        command = f"python -m pellucid.bench.claims {study} runs/{study}.csv --count {count}"
        lines.append(f"| `{command}` | {count} of 128 x 128, square | as above | |")
    lines.append("| `python -m pellucid.bench.claims collect runs` | | | |")
    lines.append("| `python -m pellucid.bench.claims page` | | | |")
    yield "\n".join(lines)


def _numbers(results: Results) -> Iterator[str]:
    """The means behind the differences."""
    try:
        keys = results.groups
    except MissingResults:
        return
    yield "## The means"
    for plan in dict.fromkeys(key[0] for key in keys):
        lines = [f"{results.provenance[plan]['title']}:", ""]
        lines += [
            "| task | method | PSNR / dB | feature distance | Fréchet distance | residual |",
            "|---|---|---|---|---|---|",
        ]
        for _, task, label in (key for key in keys if key[0] == plan):
            psnr, distance, residual = (
                results.values(plan, task, label, column).mean() for column in ("psnr", "effnet_distance", "residual")
            )
            frechet = results.frechet(plan, task, label)[0]
            lines.append(f"| {task} | {label} | {psnr:.2f} | {distance:.4f} | {frechet:.0f} | {residual:.4f} |")
        yield "\n".join(lines)


def write(*, check: bool = False) -> int:
    """Writes the page and its pictures, or only checks the page; 1 if it is out of date and is left so."""
    results = Results(RESULTS)
    made = text(results)
    stale = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != made
    if check:
        say(f"{'out of date' if stale else 'up to date'}: {PAGE}")
        return int(stale)
    IMAGES.mkdir(parents=True, exist_ok=True)
    plots.draw(results, IMAGES)
    with replacing(PAGE) as partial:
        partial.write_text(made, encoding="utf-8")
    say(f"wrote {PAGE}")
    return 0
