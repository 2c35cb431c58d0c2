"""The papers whose claims are tested: what of each stands where."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pellucid.bench.claims import (
    adir,
    adir_page,
    causes,
    cost_page,
    dirac,
    dirac_page,
    flash,
    flash_page,
    plots,
    remarks,
    resample,
    severity_claim,
    ssd,
    strips,
)
from pellucid.bench.claims.results import Results
from pellucid.bench.claims.verdict import Part


def nothing(name: str, results: Results) -> str:
    """No text."""
    return ""


@dataclass(frozen=True)
class Paper:
    """A paper.

    Attributes:
        name: of its folder in bench/results.
        letter: that its claims begin with.
        plans: names of the plans in papers/claims, in the order of the page.
        tests: by claim, its parts from the results.
        experiments: by claim, a sentence on what was run.
        causes: of a claim that was not reproduced, text from the results; "" where there is nothing to say.
        remarks: of any claim, likewise.
        before: commands of `python -m pellucid.bench.claims` that the plans need.
        studies: its other commands, whose files are copied beside the results.
        more: files that those commands write beside their own.
        strips: by claim, pictures of runs: pairs of a plan and what is shown of it.
        plots: by claim, a plot from the results.
    """

    name: str
    letter: str
    plans: tuple[str, ...]
    tests: Mapping[str, Callable[[Results], Iterator[Part]]]
    experiments: Mapping[str, str]
    causes: Callable[[str, Results], str] = nothing
    remarks: Callable[[str, Results], str] = nothing
    before: tuple[str, ...] = ()
    studies: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    strips: Mapping[str, tuple[tuple[str, plots.Strip], ...]] = field(default_factory=dict)
    plots: plots.Plots = field(default_factory=dict)

    def results(self, folder: Path) -> Results:
        """Its result files."""
        return Results(folder / self.name)


SSD = Paper(
    name="ssd",
    letter="S",
    plans=("ssd-table1", "ssd-inpainting", "ssd-inversion", "ssd-plus", "ssd-causes", "ssd-scales"),
    tests=ssd.TESTS,
    experiments=ssd.EXPERIMENTS,
    causes=causes.of,
    studies=("inversion", "timing"),
    strips={"S4": (("ssd-inversion", plots.INVERSION),)},
    plots=plots.PLOTS,
)
RESAMPLE = Paper(
    name="resample",
    letter="R",
    plans=resample.PLANS,
    tests=resample.TESTS | {"R6": cost_page.r6},
    experiments=resample.EXPERIMENTS | {"R6": cost_page.EXPERIMENT},
    remarks=remarks.of,
    before=("slices runs/ct-slices",),
    studies=("ceiling",),
    strips=strips.STRIPS,
)
FLASH = Paper(
    name="flash",
    letter="F",
    plans=flash.PLANS,
    tests={"F1": severity_claim.f1} | flash.TESTS,
    experiments={"F1": severity_claim.EXPERIMENT} | flash.EXPERIMENTS,
    remarks=flash_page.of,
    strips=flash_page.STRIPS,
    plots=flash_page.PLOTS,
)
DIRAC = Paper(
    name="dirac",
    letter="D",
    plans=dirac.PLANS,
    tests=dirac.TESTS,
    experiments=dirac.EXPERIMENTS,
    remarks=dirac_page.of,
    before=("half runs/photos-half", "slices runs/ct-slices"),
    studies=("dirac-path", "dirac-coverage"),
    more=("dirac-path-sets",),
    strips=dirac_page.STRIPS,
    plots=dirac_page.PLOTS,
)
ADIR = Paper(
    name="adir",
    letter="A",
    plans=adir.PLANS,
    tests=adir.TESTS,
    experiments=adir.EXPERIMENTS,
    remarks=adir_page.of,
    before=(
        "half runs/photos-half",
        "tiles papers/adir/unseen.txt runs/adir-tiles",
        "tiles ../shared/ct/lidc_idri_0314_chest.npz runs/adir-ct --size 128",
        "tiles ../shared/ct/eval_other_patients.npz runs/adir-ct-test --size 128",
    ),
    studies=("adir-queries",),
    strips=adir_page.STRIPS,
    plots=adir_page.PLOTS,
)
PAPERS = (SSD, FLASH, DIRAC, RESAMPLE, ADIR)
