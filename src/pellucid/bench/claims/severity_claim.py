"""Claim F1 of Flash-Diffusion: what the study of the severity encoder says of it (`docs/severity.md`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pellucid.bench.claims.results import MissingResults, Results
from pellucid.bench.claims.severity_figures import along, between, effects, predicting, related, rising
from pellucid.bench.claims.severity_study import BLUR, REPEATS
from pellucid.bench.claims.verdict import Part, above
from pellucid.metrics.statistics import summarise

RISES, CORRELATES = 0.9, 0.5
SIZE = "128"

EXPERIMENT = (
    "The study of [the severity encoder](severity.md), `python -m pellucid.bench.claims.severity measure`: every "
    "held-out picture at ten widths of blur, and at random ones."
)


def f1(results: Results) -> Iterator[Part]:
    """The predicted severity rises with blur, follows the level and the true error; detail lifts it."""
    runs = study(results)
    blurred = runs["blur"][BLUR]
    ranks, monotone = rising(blurred["predicted"])
    number = summarise(ranks)
    what = f"Spearman's correlation of blur and prediction within a picture ({monotone} of {len(ranks)} always rise)"
    yield Part(what, f"at least {RISES:g}", between(number), above(number, RISES))
    number = along(blurred["stds"], blurred["predicted"])
    yield Part("the same over all pictures", f"at least {CORRELATES:g}", between(number), above(number, CORRELATES))
    sizes = runs["errors"][BLUR]["sizes"]
    _, number = predicting(sizes[SIZE], REPEATS)
    what = "Spearman's correlation of the predicted and the true error, random blur, other pictures"
    yield Part(what, f"at least {CORRELATES:g}", between(number), above(number, CORRELATES))
    number = related(effects(blurred["predicted"]), blurred["fine"])
    what = "Spearman's correlation, over pictures, of fine detail and what is predicted beyond others at the same blur"
    yield Part(what, f"at least {CORRELATES:g}", between(number), above(number, CORRELATES))


def study(results: Results) -> dict[str, Any]:
    """The parts of the study. Raises `MissingResults` where it was not run, or in part."""
    path = results.folder / "severity.json"
    if not path.is_file():
        raise MissingResults(f"{path} is not there")
    runs: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["runs"]
    if any(BLUR not in runs.get(part, {}) for part in ("blur", "errors")):
        raise MissingResults(f"{path} has no figures of {BLUR}")
    return runs
