"""`pellucid tune`: the settings of a method that do best on a plan, found by optuna, kept in a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from pellucid.bench import provenance, scores
from pellucid.bench.execute import Setting
from pellucid.bench.plan import MethodPlan, Plan
from pellucid.bench.pool import work
from pellucid.bench.resolve import Experiment, resolve
from pellucid.bench.settings_file import MethodSettings
from pellucid.bench.spaces import Range, space
from pellucid.bench.store import Store
from pellucid.cli.console import note, say
from pellucid.errors import ConfigError
from pellucid.images.atomic import replacing

STUDY, BEST = "study.db", "best.toml"


@dataclass(frozen=True)
class Tuning:
    """What is tuned, on what, by what.

    Attributes:
        method: its name.
        plan: pictures, tasks, priors, seeds; an entry of the method in it gives nfe and options that stay fixed.
        space: what is varied.
        metric: of single pictures; its mean over all pictures, tasks, priors and seeds is the objective.
        seed: of the search.
        grid: go through all combinations instead of searching.
    """

    method: str
    plan: Plan
    space: Mapping[str, Range]
    metric: str
    seed: int = 0
    grid: bool = False

    @classmethod
    def make(cls, method: str, plan: Plan, *, metric: str = "psnr", seed: int = 0, grid: bool = False) -> Tuning:
        """Checks the parts.

        Raises:
            UnknownNameError: no such method or metric.
            ConfigError: the metric is one of sets, or an option to be tuned is unknown.
        """
        from pellucid import methods

        preset, found = methods.get(method), scores.find(metric)
        if not found.per_image:
            raise ConfigError(f"{metric} is a number of a whole set; tuning needs one of single pictures")
        varied = space(method, plan.space, grid=grid)
        for name in varied:
            if name not in preset.options:
                raise ConfigError(
                    f"[space] {method} has no option {name!r}; its options are {', '.join(preset.options)}"
                )
        return cls(method, plan, varied, found.name, seed, grid)

    @property
    def base(self) -> MethodPlan:
        """The method as the plan has it, else at its defaults."""
        mine = [entry for entry in self.plan.method if entry.name == self.method]
        return mine[0] if mine else MethodPlan(self.method)

    def experiment(self, options: Mapping[str, Any]) -> Experiment:
        """The plan with this method alone, at some settings. Raises `ConfigError`."""
        base = self.base
        entry = replace(base, label=None, nfe=base.nfe[:1], options={**base.options, **options}, config=None)
        metrics = [] if self.metric in scores.ALWAYS else [self.metric]
        return resolve(
            replace(
                self.plan,
                method=(entry,),
                metrics=metrics,
                save=False,
                features=False,
                trajectory=[],
                reference=None,
                published={},
            )
        )

    def identity(self, first: Experiment) -> dict[str, Any]:
        """What makes a study the study it is, for JSON: trials of another plan say nothing about this one.

        The plan is in it by the keys of the rows at the options that stay fixed (pictures, tasks, priors, seeds, calls,
        and the files behind them), and by the protocol, which keys leave out.

        Args:
            first: `experiment({})`.
        """
        keys = sorted(key for job in first.jobs for key in job.keys)
        plan = json.dumps([keys, asdict(self.plan.protocol)])
        return {
            "method": self.method,
            "metric": self.metric,
            "seed": self.seed,
            "grid": self.grid,
            "space": {name: [r.low, r.high, r.log, list(r.choices)] for name, r in sorted(self.space.items())},
            "plan": hashlib.sha256(plan.encode()).hexdigest(),
        }

    @property
    def higher(self) -> bool:
        """Whether more of the metric is better."""
        return scores.find(self.metric).better == "higher"


def tune(tuning: Tuning, out: Path, *, trials: int = 20, workers: int = 1, source: str = "") -> MethodSettings:
    """Searches until there are so many trials, and writes the best settings; a study in the folder is continued.

    The trials are the same however often the search was interrupted, and no picture is restored twice. Trials that
    failed before are tried again first.

    Args:
        tuning: what is tuned.
        out: folder of the study, of the rows of all trials, and of `best.toml`.
        trials: in all; a grid ends when it is through.
        workers: processes.
        source: the plan's file, for the record.

    Raises:
        ConfigError: optuna is missing, the plan cannot be run, or the folder holds another study.
        PellucidError: every trial failed.
    """
    optuna = _optuna()
    if trials < 1:
        raise ConfigError(f"--trials is a whole number from 1, not {trials}")
    store = Store(out)
    first = tuning.experiment({})  # what is wrong with the plan is said before a study exists
    with store.locked():
        study = _study(optuna, tuning.identity(first), tuning.higher, out)
        _retry(optuna, study, tuning, store, workers)
        while (number := _finished(study)) < _count(tuning, trials):
            trial, options = _asked(optuna, study, tuning, number)
            value = _value(tuning, options, store, workers)
            _tell(optuna, study, tuning, trial, options, value)
            shown = "failed" if value is None else f"{tuning.metric} {value:.4f}"
            note(f"trial {number + 1}/{_count(tuning, trials)}: {_text(options)}: {shown}")
        store.finish({})
        best = _best(optuna, study, tuning, first, source)
        write(out / BEST, best)
    say(f"{out / BEST}: {_text(best.options)}, {tuning.metric} {best.tuned['value']:.4f}")
    return best


def write(path: Path, settings: MethodSettings) -> None:
    """Settings as TOML, whole or not at all."""
    lines = ["# pellucid restore --method-config FILE; or [[method]] config = FILE in a plan"]
    lines.append(f"method = {_toml(settings.method)}")
    if settings.nfe is not None:
        lines.append(f"nfe = {settings.nfe}")
    for name, table in (("options", settings.options), ("tuned", settings.tuned)):
        lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    with replacing(path) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _toml(value: Any) -> str:
    """A simple value; JSON's texts and numbers are TOML's."""
    return json.dumps(value, ensure_ascii=False)


def _text(options: Mapping[str, Any]) -> str:
    parts = (
        f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}" for name, value in options.items()
    )
    return ", ".join(parts)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("tuning needs optuna: pip install 'pellucid[bench]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _study(optuna: Any, sought: dict[str, Any], higher: bool, out: Path) -> Any:
    """The study in the folder, begun if it is not there; what a killed process was working on is given up."""
    study = optuna.create_study(
        storage=f"sqlite:///{(out / STUDY).absolute()}",
        study_name="tune",
        direction="maximize" if higher else "minimize",
        load_if_exists=True,
    )
    if study.user_attrs.get("sought", sought) != sought:
        raise ConfigError(
            f"{out} holds another study ({json.dumps(study.user_attrs['sought'])}); choose another folder"
        )
    study.set_user_attr("sought", sought)
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        _give_up(study, trial.number)
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def _retry(optuna: Any, study: Any, tuning: Tuning, store: Store, workers: int) -> None:
    """Trials that failed in an earlier run: what succeeds now takes their place."""
    given_up = set(study.user_attrs.get("given_up", []))
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.FAIL,)):
        if trial.number in given_up or (value := _value(tuning, trial.params, store, workers)) is None:
            continue
        _give_up(study, trial.number)
        study.add_trial(optuna.trial.create_trial(value=value, params=trial.params, distributions=trial.distributions))
        note(f"a trial that failed before, {_text(trial.params)}: {tuning.metric} {value:.4f}")


def _give_up(study: Any, number: int) -> None:
    """Such a trial does not count among the trials."""
    study.set_user_attr("given_up", [*study.user_attrs.get("given_up", []), number])


def _given_up(study: Any) -> int:
    return len(study.user_attrs.get("given_up", []))


def _finished(study: Any) -> int:
    return len(study.get_trials(deepcopy=False)) - _given_up(study)


def _count(tuning: Tuning, trials: int) -> int:
    if not tuning.grid:
        return trials
    count = 1
    for varied in tuning.space.values():
        count *= len(varied.choices)
    return min(trials, count)


def _asked(optuna: Any, study: Any, tuning: Tuning, number: int) -> tuple[Any, dict[str, Any]]:
    """The next settings: the grid's, or a search's, which depend on the seed and the trials before alone."""
    if tuning.grid:
        combinations = list(product(*(varied.choices for varied in tuning.space.values())))
        return None, dict(zip(tuning.space, combinations[number], strict=True))
    study.sampler = optuna.samplers.TPESampler(seed=tuning.seed + number, n_startup_trials=5)
    trial = study.ask()
    return trial, {name: varied.suggest(trial, name) for name, varied in tuning.space.items()}


def _tell(optuna: Any, study: Any, tuning: Tuning, trial: Any, options: Mapping[str, Any], value: float | None) -> None:
    state = optuna.trial.TrialState.FAIL if value is None else optuna.trial.TrialState.COMPLETE
    if trial is not None:
        study.tell(trial, value, state=state)
        return
    kinds = {n: optuna.distributions.CategoricalDistribution(varied.choices) for n, varied in tuning.space.items()}
    study.add_trial(optuna.trial.create_trial(state=state, value=value, params=dict(options), distributions=kinds))


def _value(tuning: Tuning, options: Mapping[str, Any], store: Store, workers: int) -> float | None:
    """The mean of the metric; None where a picture failed."""
    experiment = tuning.experiment(options)
    keys = {key for job in experiment.jobs for key in job.keys}
    there = {row["key"]: row for row in store.read() if row["key"] in keys and row["status"] == "ok"}
    todo = [part for job in experiment.jobs if (part := job.only(set(job.keys) - there.keys())).keys]
    stamp = {"version": provenance.versions().get("pellucid"), "commit": provenance.commit()}
    setting = Setting(
        experiment.plan, experiment.device, experiment.precision, experiment.fingerprints, store.pictures, stamp
    )
    for job, tables in work(todo, setting, workers):
        store.put(job.name, tables)
        there |= {row["key"]: row for row in tables["rows"]}
    column = {"residual_rms": "residual", "residual": "residual_sigma"}.get(tuning.metric, tuning.metric)
    values = [float(row[column]) for row in there.values() if row.get(column) is not None]
    return sum(values) / len(values) if len(values) == len(there) else None


def _best(optuna: Any, study: Any, tuning: Tuning, first: Experiment, source: str) -> MethodSettings:
    done: Sequence[Any] = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if not done:
        raise ConfigError(f"every trial of {tuning.method} failed; the rows in the folder say why")
    best, base = study.best_trial, tuning.base
    tuned = {
        "metric": tuning.metric,
        "value": best.value,
        "trials": len(done),
        "seed": tuning.seed,
        "plan": source,
        "tasks": ", ".join(task.name for task in tuning.plan.task),
        "priors": ", ".join(tuning.plan.prior.names),
        "pictures": len(first.images),
        "version": provenance.versions().get("pellucid", ""),
        "commit": provenance.commit() or "",
    }
    return MethodSettings(tuning.method, base.nfe[0], {**base.options, **best.params}, tuned)
