"""The claims of ADIR (Abu-Hussein, Tirer and Giryes, arXiv 2212.03221), part by part.

The criteria were written before a row of these plans was seen. Two things were changed afterwards: CT is told in three
equal channels, since a first run in one channel measured how networks of colour took grey noise, which has been mended;
and the plans of A5, A6 and the settings colourise, once super-resolution of CT had turned out to gain nothing from any
adaptation. "Equal" and "negligible" are 0.2 dB; "not stable" is 1 dB and more below; an improvement is any whose
interval lies on one side of 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pellucid.bench.claims.comparing import Pair, distance_at_most, psnr_at_least, psnr_within
from pellucid.bench.claims.results import Results
from pellucid.bench.claims.verdict import Part

TABLE, DOMAIN = "adir-table", "adir-domain"
SETTINGS, COLLECTIONS = "adir-settings", "adir-collections"
SAMPLERS, RESOLUTION, GUIDANCE = "adir-samplers", "adir-resolution", "adir-guidance"
PLANS = (TABLE, DOMAIN, SETTINGS, COLLECTIONS, SAMPLERS, RESOLUTION, GUIDANCE)
TASKS = {TABLE: ("sr4", "sr8", "deblur", "grey"), DOMAIN: ("sr4", "deblur", "grey")}
SAMPLED = ("sr4", "grey")
NAMES = {TABLE: "photographs", DOMAIN: "CT by a prior of photographs"}
KINDS = ("adir", "dps", "ddnm", "ssd")
EQUAL, UNSTABLE = 0.2, 1.0


def a1(results: Results) -> Iterator[Part]:
    """Nearest neighbours against the prior as it is, same seeds."""
    for plan, tasks in TASKS.items():
        for task in tasks:
            pair = _pair(results, plan, task, "near", "base")
            yield psnr_at_least(pair, 0.0)
            yield distance_at_most(pair, 0.0)


def a2(results: Results) -> Iterator[Part]:
    """Embedded neighbours beat those by mean squared error, which equal random ones."""
    for task in TASKS[TABLE]:
        near = _pair(results, TABLE, task, "near", "mse")
        yield psnr_at_least(near, 0.0)
        yield distance_at_most(near, 0.0)
        yield psnr_within(_pair(results, TABLE, task, "mse", "random"), EQUAL)


def a3(results: Results) -> Iterator[Part]:
    """Pictures of 512 pixels."""
    pair = _pair(results, RESOLUTION, "sr4", "near", "base")
    yield psnr_at_least(pair, 0.0)
    yield distance_at_most(pair, 0.0)


def a4(results: Results) -> Iterator[Part]:
    """The surrogate against the gradient through the network, and against x_t for x_0."""
    for calls in (20, 100):
        for task in TASKS[TABLE]:
            yield psnr_at_least(_pair(results, GUIDANCE, task, f"surrogate {calls}", f"autograd {calls}"), UNSTABLE)
            yield psnr_at_least(_pair(results, GUIDANCE, task, f"surrogate {calls}", f"naive {calls}"), 0.0)


def a5(results: Results) -> Iterator[Part]:
    """One adapted prior under several samplers."""
    for task in SAMPLED:
        for kind in KINDS:
            pair = _pair(results, SAMPLERS, task, f"{kind} near", f"{kind} base")
            yield psnr_at_least(pair, 0.0)
            yield distance_at_most(pair, 0.0)


def a6(results: Results) -> Iterator[Part]:
    """A collection that holds pictures like these helps; one that is poor does not."""
    yield psnr_at_least(_pair(results, COLLECTIONS, "grey", "all", "base"), EQUAL)
    for poor in ("20", "narrow", "photos"):
        yield psnr_within(_pair(results, COLLECTIONS, "grey", poor, "base"), EQUAL)
        yield psnr_at_least(_pair(results, COLLECTIONS, "grey", "all", poor), 0.0)


def _pair(results: Results, plan: str, task: str, first: str, second: str) -> Pair:
    return Named(results, plan, task, first, second)


class Named(Pair):
    """A pair whose plan is said where a claim has parts of two."""

    @property
    def name(self) -> str:
        where = f"{NAMES[self.plan]}, " if self.plan in NAMES else ""
        return f"{where}{super().name}"


EXPERIMENTS = {
    "A1": "Plan adir-table: a prior of photographs, adapted to each of eight crops of 128 pixels by the 20 nearest of "
    "1965 squares of photographs that neither it nor the plan's pictures come from; 5 seeds. Plan adir-domain: the "
    "prior `photo` on CT slices of three patients, in quarters and three equal channels, by slices of a fourth "
    "patient; quarters of one slice are not independent, so that its intervals are too narrow. 50 steps at a rate of "
    "1e-3, chosen on the denoising loss of one picture of each plan; the paper's rate is 1e-4, for 400 steps.",
    "A2": "Plan adir-table; the embedding is EfficientNet-Lite0's, since no vision-language weights were at hand.",
    "A3": "Plan adir-resolution: four pictures of 512 pixels; the prior was trained on crops of 64 to 128.",
    "A4": "Plan adir-guidance: forms of g with the prior `photo` as it is, all with the same step.",
    "A5": "Plan adir-samplers: CT, the adapters of adir-domain. Latent ReSample was not run.",
    "A6": "Plan adir-collections: CT, colourised. `20`: that many slices; `narrow`: one end of the body; `photos`: "
    "squares of photographs.",
}

TESTS: dict[str, Callable[[Results], Iterator[Part]]] = {"A1": a1, "A2": a2, "A3": a3, "A4": a4, "A5": a5, "A6": a6}
