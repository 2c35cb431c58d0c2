"""The command `pellucid verify`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pellucid import methods
from pellucid.errors import ConfigError
from pellucid.methods import METHODS
from pellucid.operators.text import parse
from pellucid.prior.gaussian import GaussianPrior, MixturePrior
from pellucid.verify.plot import plot
from pellucid.verify.report import Case, Verdict
from pellucid.verify.severity import built
from pellucid.verify.suite import PROBLEMS, suite
from pellucid.verify.table import as_json, page, rows, save

DEFAULT_OPERATORS = (
    "identity",
    "mask:box={half}",
    "mask:random=0.7,seed=1",
    "gaussian-blur:std=1.5",
    "bicubic:factor=4",
)


def run(
    method: str | None,
    operators: list[str] | None = None,
    noise: float = 0.05,
    size: int = 64,
    *,
    everything: bool = False,
    prior: str = "gaussian",
    out: Path | None = None,
    as_json_text: bool = False,
    nfe: int | None = None,
    options: dict[str, Any] | None = None,
) -> None:
    """One method on some operators, or (`everything`) all of them on the standard problems.

    Args:
        method: name of the method; not with `everything`.
        operators: texts of operators; the five standard ones if not given.
        noise: in [0, 1] units.
        size: side of the pictures.
        everything: make the table of all methods, in `out` (docs/ if not given) as verify.md and verify.json.
        prior: "gaussian" or "mixture".
        out: folder for JSON and plots.
        as_json_text: print JSON instead of tables.
        nfe, options: of the method.

    Raises:
        ConfigError: neither a method nor `everything`, or an unknown prior.
    """
    torch.set_grad_enabled(False)
    console = Console(stderr=as_json_text)
    if everything:
        _suite(console, size, out or Path("docs"))
        return
    if method is None:
        raise ConfigError(f"name a method ({', '.join(METHODS)}) or say --all")
    chosen = built(methods.get(method), nfe, **(options or {}))
    texts = operators or [text.format(half=size // 2) for text in DEFAULT_OPERATORS]
    verdicts = []
    for text in track(texts, "verifying", console=console, transient=True):
        case = Case.make(_prior(prior, size), parse(text).build((3, size, size)), noise)
        result = case.run(chosen)
        verdict = case.judge(result, method, text)
        verdicts.append(verdict)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            plot(case, result.image, verdict, out / f"verify-{method}-{_slug(text)}.png")
        if not as_json_text:
            _print(console, verdict)
    text = json.dumps([verdict.as_dict() for verdict in verdicts], indent=1)
    if out is not None:
        save(out / f"verify-{method}.json", text)
        console.print(f"saved in {out}")
    if as_json_text:
        print(text)


def _suite(console: Console, size: int, out: Path) -> None:
    command = "pellucid verify --all" + ("" if size == 64 else f" --size {size}")
    total = len(METHODS) * len(PROBLEMS)
    entries = list(track(suite(size), "verifying", total=total, console=console))
    save(out / "verify.json", as_json(entries))
    save(out / "verify.md", page(entries, size, 16, command))
    console.print(f"saved {out / 'verify.md'} and {out / 'verify.json'}")


def _prior(name: str, size: int) -> GaussianPrior | MixturePrior:
    if name == "gaussian":
        return GaussianPrior.natural(size)
    if name == "mixture":  # a bright and rough one, and a dark and smooth one
        parts = [
            GaussianPrior.natural(size, std=0.2, mean=0.6),
            GaussianPrior.natural(size, std=0.1, mean=0.3, exponent=1.6),
        ]
        return MixturePrior(parts, [0.6, 0.4])
    raise ConfigError(f"the prior must be gaussian or mixture, not {name!r}")


def _print(console: Console, verdict: Verdict) -> None:
    table = Table(title=f"{verdict.method} on {verdict.operator}, noise {verdict.noise:g}", title_justify="left")
    for heading, side in (("", "left"), ("method", "right"), ("exact", "right")):
        table.add_column(heading, justify="right" if side == "right" else "left")
    for row in rows(verdict):
        table.add_row(*row)
    console.print(table)


def _slug(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text)
