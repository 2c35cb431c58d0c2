"""Small tables on Dirac from files of other commands: schedules, and how trainings began."""

from __future__ import annotations

import json
from pathlib import Path

from pellucid.bench.claims.results import save_table
from pellucid.errors import ConfigError


def schedules(files: dict[str, Path], out: Path) -> None:
    """The points of the schedules that `pellucid schedule` wrote, by family, as a CSV file.

    Raises:
        ConfigError: a file is missing, or is no schedule.
    """
    rows = []
    for name, path in files.items():
        try:
            points = json.loads(path.read_text(encoding="utf-8"))["points"]
            rows += [{"family": name, "parameter": float(value)} for value in points]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"cannot read the schedule {path}: {error}") from error
    save_table(out, rows, ("family", "parameter"))


def beginnings(runs: dict[str, Path], out: Path) -> None:
    """The validation PSNR at t = 1 of trainings' logs, by step, as a CSV file.

    Raises:
        ConfigError: a log is missing, or holds none.
    """
    rows = []
    for name, folder in runs.items():
        path = folder / "log.jsonl"
        if not path.is_file():
            raise ConfigError(f"{path} is not there; train first")
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        found = {line["step"]: line["validation_psnr_1"] for line in lines if "validation_psnr_1" in line}
        if not found:
            raise ConfigError(f"{path} holds no validation")
        rows += [{"run": name, "step": step, "psnr": value} for step, value in found.items()]
    save_table(out, rows, ("run", "step", "psnr"))
