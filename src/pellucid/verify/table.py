"""Verdicts as text: a terminal's table, a page's table, JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from pellucid.verify.report import Verdict
from pellucid.verify.suite import NOISY, PROBLEMS, Entry

ALLOWED = 1.5  # dB below the exact posterior in the mean of 16: a method that models noise and loses more must say why

ROWS: tuple[tuple[str, str, str], ...] = (
    ("PSNR of one sample", "psnr_sample", "exact_sample"),
    ("PSNR of the mean of the samples", "psnr_mean", "exact_mean"),
    ("residual / sigma", "residual", "exact_residual"),
    ("bias / posterior std", "bias", ""),
    ("sample std / posterior std", "spread", ""),
    ("inside the 50 % interval", "coverage_50", ""),
    ("inside the 90 % interval", "coverage_90", ""),
)


def rows(verdict: Verdict) -> list[tuple[str, str, str]]:
    """(what, the method's, the exact posterior's) as text."""
    constants = {
        "bias": f"{verdict.samples**-0.5:.2f}",
        "spread": "1.00",
        "coverage_50": "0.50",
        "coverage_90": "0.90",
    }
    out = []
    for what, own, exact in ROWS:
        right = f"{getattr(verdict, exact):.2f}" if exact else constants[own]
        out.append((what, f"{getattr(verdict, own):.2f}", right))
    out.append(("network calls for one sample", str(verdict.nfe), ""))
    return out


def page(entries: Iterable[Entry], size: int, samples: int, command: str) -> str:
    """The Markdown page `docs/verify.md`: one table a noise level, methods down, problems across."""
    listed = list(entries)
    parts = [_head(size, samples, command), _section(listed, NOISY, all_methods=True)]
    parts.append(f"\n## Noiseless: methods that are made for it\n\n{NOISELESS}\n")
    parts.append(_section(listed, 0.0, all_methods=False))
    parts.append(_failures(listed))
    return "\n".join(parts)


NOISELESS = (
    "The exact posterior here leaves out, as the pseudo-inverse does, the singular directions below the operator's "
    "`rcond`: with none of the noise that hides them, no method may use them either."
)


def _head(size: int, samples: int, command: str) -> str:
    return (
        "# Methods against the exact posterior\n\n"
        f"Made by `{command}`; do not edit.\n\n"
        "With a Gaussian prior of natural-image spectrum and a linear operator the posterior is known exactly. Every "
        f"method runs on it at its defaults, {size}x{size} pixels, float64, {samples} samples. Each cell: PSNR of one "
        f"sample | PSNR of the mean of {samples} (dB). The row *exact* is the posterior itself, sampled as often. "
        f"**Bold**: the mean is more than {ALLOWED} dB below it. Dirac, whose prior is one of a degradation, gets the "
        "exact one of the straight line from nothing to the problem's operator.\n\n"
        f"## Noise {NOISY}\n"
    )


def _section(entries: list[Entry], noise: float, *, all_methods: bool) -> str:
    chosen = [entry for entry in entries if entry.noise == noise]
    problems = [name for name in PROBLEMS if any(entry.problem == name for entry in chosen)]
    lines = ["| method | " + " | ".join(problems) + " | calls |", "|---" * (len(problems) + 2) + "|"]
    exact = {e.problem: e.verdict for e in chosen if e.verdict is not None}
    cells = [f"{v.exact_sample:.1f} \\| {v.exact_mean:.1f}" for v in (exact[name] for name in problems)]
    lines.append("| *exact* | " + " | ".join(cells) + " | |")
    for preset in dict.fromkeys(entry.preset for entry in chosen):
        mine = {entry.problem: entry for entry in chosen if entry.preset is preset}
        note = "" if preset.models_noise or not all_methods else " (noiseless)"
        calls = {e.verdict.nfe for e in mine.values() if e.verdict is not None}
        row = [_cell(mine[name]) for name in problems]
        lines.append(f"| {preset.name}{note} | " + " | ".join(row) + f" | {', '.join(map(str, sorted(calls)))} |")
    return "\n".join(lines)


def _cell(entry: Entry) -> str:
    if entry.verdict is None:
        return "cannot"
    v = entry.verdict
    mean = f"**{v.psnr_mean:.1f}**" if v.gap > ALLOWED else f"{v.psnr_mean:.1f}"
    return f"{v.psnr_sample:.1f} \\| {mean}"


def _failures(entries: list[Entry]) -> str:
    """Every method that models noise and still misses, named with its figure."""
    missed = [e for e in entries if e.verdict is not None and e.preset.models_noise and e.verdict.gap > ALLOWED]
    if not missed:
        return f"\nEvery method that models noise is within {ALLOWED} dB of the exact posterior in the mean.\n"
    lines = [f"- {e.preset.name}, {e.problem}: {e.verdict.gap:.1f} dB below" for e in missed if e.verdict is not None]
    return (
        f"\nMethods that model noise and miss by more than {ALLOWED} dB (their pages say why):\n\n"
        + "\n".join(lines)
        + "\n"
    )


def save(path: Path, text: str) -> None:
    """Writes beside, then renames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    os.replace(partial, path)


def as_json(entries: Iterable[Entry]) -> str:
    """The verdicts and refusals of a suite."""
    return json.dumps(
        [
            {"problem": e.problem, "method": e.preset.name, "noise": e.noise}
            | ({"refused": e.refusal} if e.verdict is None else {"verdict": e.verdict.as_dict()})
            for e in entries
        ],
        indent=1,
    )
