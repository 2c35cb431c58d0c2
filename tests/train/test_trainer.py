"""The trainer: exact resume, averaged gradients, rotated checkpoints, for every kind of training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from pellucid.errors import ConfigError
from pellucid.train.checkpoint import Checkpoints
from pellucid.train.config import PriorConfig, RunConfig
from pellucid.train.ema import PowerEMA
from pellucid.train.log import read_log
from pellucid.train.rate import lr_factor
from pellucid.train.tasks.make import TASKS, make_task
from pellucid.train.trainer import Trainer
from tests.train.settings import NETWORKS, UNET, toml, words


def trainer(kind: str, folder: Path, **more: Any) -> Trainer:
    return Trainer(make_task(kind, TASKS[kind][0](**words(kind, folder, **more))))


def losses(run: Trainer, until: int | None = None) -> list[float]:
    seen: list[float] = []
    run.train(lambda step, figures, rate: seen.append(figures["loss"]), until)
    return seen


def test_every_kind_that_stands_on_no_other_network_is_under_test_here() -> None:
    assert set(NETWORKS) == set(TASKS) - {"latent-prior", "severity", "parameter"}


@pytest.mark.parametrize("kind", NETWORKS)
def test_an_interrupted_run_continues_with_the_same_losses(kind: str, tmp_path: Path) -> None:
    whole = losses(trainer(kind, tmp_path))
    first = trainer(kind, tmp_path, out=tmp_path / "other")
    seen = losses(first, until=3)
    first.checkpoints.files()[-1].unlink()  # as if it had died before the checkpoint of step 3
    rest = losses(trainer(kind, tmp_path, out=tmp_path / "other"))
    assert len(whole) == 6 and seen == whole[:3] and rest == whole[2:]
    logged = [line["loss"] for line in read_log(tmp_path / "other") if "loss" in line]
    assert logged == whole


@pytest.mark.parametrize("kind", NETWORKS)
def test_training_lowers_the_loss_on_a_fixed_batch(kind: str, tmp_path: Path) -> None:
    more = {"quantise_from": 0, "adversarial": 0.0, "resampling": False} if kind == "autoencoder" else {}
    run = trainer(kind, tmp_path, steps=60, lr=4e-3, checkpoint_every=60, ema=0.2, **more)
    objective, batch = next(iter(run.task.objectives.values())), run.task.batch(10**6, 0)

    def loss() -> float:
        with torch.no_grad():
            return float(objective(**batch))

    if kind == "autoencoder":
        run.task.maintain(0, {"quantize.embedding.weight": torch.zeros(16, 3)})
    before = loss()
    losses(run)
    assert loss() < 0.9 * before


def test_accumulated_micro_batches_average_their_gradients(tmp_path: Path) -> None:
    run = trainer("prior", tmp_path, accumulate=3, steps=1, clip=1e9)
    objective = run.task.objectives["denoiser"]
    mean = torch.stack([objective(**run.task.batch(0, slot)) for slot in range(3)]).mean()
    expected = torch.autograd.grad(mean, list(run.task.model.parameters()))
    totals = [run._backward("denoiser", objective, run.task.batch(0, slot), last=slot == 2) for slot in range(3)]
    for parameter, gradient in zip(run.task.model.parameters(), expected, strict=True):
        assert parameter.grad is not None and torch.allclose(parameter.grad, gradient, rtol=1e-4, atol=1e-7)
    assert float(torch.stack(totals).detach().mean()) == pytest.approx(float(mean.detach()), rel=1e-6)


def test_the_critic_and_the_autoencoder_move_only_their_own_weights(tmp_path: Path) -> None:
    run = trainer("autoencoder", tmp_path)
    batch = run.task.batch(0, 0)
    run._backward("autoencoder", run.objectives["autoencoder"], batch, last=True)
    assert all(p.grad is None for p in run.task.objectives["critic"].parameters())
    moved = {name: p.grad.clone() for name, p in run.task.model.named_parameters() if p.grad is not None}
    run._backward("critic", run.objectives["critic"], batch, last=True)
    assert moved and all(torch.equal(dict(run.task.model.named_parameters())[n].grad, g) for n, g in moved.items())
    assert all(p.grad is not None for p in run.task.objectives["critic"].parameters())


def test_batches_ahead_of_time_are_the_same(tmp_path: Path) -> None:
    plain = losses(trainer("denoiser", tmp_path))
    ahead = losses(trainer("denoiser", tmp_path, out=tmp_path / "ahead", workers=2))
    assert ahead == plain and len(plain) == 6


def test_only_the_newest_checkpoints_stay_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    run = trainer("prior", tmp_path, keep=2)
    losses(run)
    files = run.checkpoints.files()
    stale = files[0].with_name(".step-00000004.abcdef01.partial.pt")
    stale.write_bytes(b"half")
    run.save()
    assert not stale.exists()
    assert [path.name for path in files] == ["step-00000004.pt", "step-00000006.pt"]
    files[-1].write_bytes(files[-1].read_bytes()[:500])
    again = trainer("prior", tmp_path)
    with pytest.warns(UserWarning, match=r"step-00000006\.pt is damaged"):
        assert again.resume() == files[0]
    assert again.step == 4


def test_damaged_checkpoints_never_push_out_a_whole_one(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", keep=1)
    checkpoints.folder.mkdir()
    for step in (9000, 10000):
        (checkpoints.folder / f"step-{step:08d}.pt").write_bytes(b"half")
    saved = checkpoints.save(1000, {"step": 1000})
    assert checkpoints.files() == [saved]
    found = checkpoints.load()
    assert found is not None and found[1] == {"step": 1000}


def test_stopping_at_once_stops_at_once(tmp_path: Path) -> None:
    run = trainer("prior", tmp_path)
    assert losses(run, until=0) == [] and run.step == 0


def test_a_checkpoint_that_would_run_code_is_passed_over(tmp_path: Path) -> None:
    hostile = b"cos\nsystem\n(S'touch " + str(tmp_path / "owned").encode() + b"'\ntR."
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(1, {"step": 1})
    (tmp_path / "c" / "step-00000002.pt").write_bytes(hostile)
    with pytest.warns(UserWarning, match="passed over"):
        found = checkpoints.load()
    assert found is not None and found[1] == {"step": 1} and not (tmp_path / "owned").exists()


def test_another_network_does_not_take_the_checkpoint(tmp_path: Path) -> None:
    losses(trainer("prior", tmp_path), until=2)
    other = trainer("prior", tmp_path, network={**UNET, "widths": [8, 24]})
    with pytest.raises(ConfigError, match="another network"):
        other.train()


def test_validation_and_samples_are_logged(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = trainer("denoiser", tmp_path, validation=tmp_path / "data", validate_every=3, sample_every=3)
    losses(run)
    figures = [line for line in read_log(tmp_path / "run") if "validation_psnr_25" in line]
    assert [line["step"] for line in figures] == [3, 6] and all(line["validation_psnr_25"] > 5 for line in figures)
    assert (tmp_path / "run" / "samples" / "0000003.png").is_file()
    assert list((tmp_path / "run" / "tensorboard").iterdir())


def test_an_infinite_loss_ends_the_run_with_a_remedy(tmp_path: Path) -> None:
    run = trainer("prior", tmp_path)
    with torch.no_grad():
        next(run.task.model.parameters()).fill_(float("nan"))
    with pytest.raises(ConfigError, match="lower lr"):
        run.train()


@pytest.mark.parametrize("decay", ["linear", "cosine", "constant"])
def test_learning_rate_rises_then_falls(decay: str) -> None:
    config = RunConfig(data=Path("d"), out=Path("o"), steps=100, warmup=10, decay=decay)
    factors = [lr_factor(step, config) for step in range(101)]
    assert factors[0] == 0.1 and max(factors) == 1.0
    assert factors[-1] == (1.0 if decay == "constant" else 0.0)
    assert all(a >= b for a, b in pairwise(factors[10:]))
    if decay == "cosine":
        assert factors[55] == pytest.approx(0.5)


def test_power_ema_is_the_weighted_mean_of_the_power_law() -> None:
    ema = PowerEMA([torch.zeros(1, dtype=torch.float64)], 0.1)
    for step in range(1, 201):
        ema.update([torch.full((1,), float(step), dtype=torch.float64)], step)
    k = torch.arange(1, 201, dtype=torch.float64)
    weights = (k ** (ema.gamma + 1)).diff(prepend=torch.zeros(1, dtype=torch.float64))
    assert float(ema.values[0]) == pytest.approx(float((weights * k).sum() / weights.sum()), rel=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('data = "d"\nout = "o"\nsteeps = 3', "unknown key 'steeps'"),
        ('out = "o"', "key 'data' is missing"),
        ("data = ", "cannot read"),
        ('data = "d"\nout = "o"\nprecision = "fp8"', "precision"),
        ('data = "d"\nout = "o"\ncrops = [64]', "same length"),
        ('data = "d"\nout = "o"\nsteps = "many"', "steps must be of type int"),
        ('data = "d"\nout = "o"\nsource = ["x"]', "source must be a table"),
        ('data = "d"\nout = "o"\naccumulate = 0', "accumulate must be at least 1"),
        ('data = "d"\nout = "o"\nchannels = 2', "channels must be 1 or 3"),
        ('data = "d"\nout = "o"\nweighting = "max"', "weighting must be"),
        ('data = "d"\nout = "o"\nseed = -1', "seed must be at least 0"),
        ('data = "d"\nout = "o"\nema = 0.0', "ema must be above 0"),
        ('data = "d"\nout = "o"\ncrops = ["a"]\ncrop_odds = [1]', "lists of numbers"),
    ],
)
def test_bad_configurations_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        PriorConfig.load(path)


# Processes of their own


def configuration(folder: Path, name: str, kind: str = "prior", **more: Any) -> Path:
    path = folder / f"{name}.toml"
    path.write_text(toml(words(kind, folder, out=folder / name, **more)))
    return path


def command(config: Path, kind: str = "prior") -> list[str]:
    return [sys.executable, "-m", "pellucid", "train", kind, str(config)]


def final(folder: Path) -> dict[str, Any]:
    newest = Checkpoints(folder / "checkpoints").load()
    assert newest is not None
    return newest[1]


def logged(folder: Path) -> list[float]:
    return [line["loss"] for line in read_log(folder) if "loss" in line]


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_losses_and_weights(tmp_path: Path) -> None:
    long = {"steps": 900, "checkpoint_every": 7}
    subprocess.run(command(configuration(tmp_path, "whole", **long)), check=True, capture_output=True)
    killed, kills = configuration(tmp_path, "killed", **long), 0
    for wait in (4.0, 4.5, 5.0, 5.5, 6.0):
        process = subprocess.Popen(command(killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(wait)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    subprocess.run(command(killed), check=True, capture_output=True)
    a, b = final(tmp_path / "whole"), final(tmp_path / "killed")
    weights = (a["objectives"]["denoiser"], b["objectives"]["denoiser"])
    assert kills > 0 and all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert logged(tmp_path / "killed") == logged(tmp_path / "whole") and len(logged(tmp_path / "whole")) == 900


@pytest.mark.parametrize("kind", ["prior", pytest.param("autoencoder", marks=pytest.mark.slow)])
def test_two_processes_average_their_gradients(kind: str, tmp_path: Path) -> None:
    """Two processes see slots 0 and 1, as one process with two micro-batches does: the weights must be the same."""
    one = configuration(tmp_path, "one", kind, accumulate=2, steps=4)
    subprocess.run(command(one, kind), check=True, capture_output=True)
    alone = configuration(tmp_path, "alone", kind, accumulate=1, steps=4)
    subprocess.run(command(alone, kind), check=True, capture_output=True)
    two = configuration(tmp_path, "two", kind, accumulate=1, steps=4)
    # `accelerate launch --cpu` starts a single process unless MPI is installed; torchrun starts as many as asked.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run([*launch, *command(two, kind)[1:]], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    a, b, c = (next(iter(final(tmp_path / name)["objectives"].values())) for name in ("one", "two", "alone"))
    assert max(float((a[key] - b[key]).abs().max()) for key in a) < 1e-4
    assert max(float((a[key] - c[key]).abs().max()) for key in a) > 1e-3  # one process alone ends elsewhere
    assert logged(tmp_path / "two") == pytest.approx(logged(tmp_path / "one"), rel=1e-3)


def test_the_configuration_is_saved_beside_the_checkpoints(tmp_path: Path) -> None:
    losses(trainer("prior", tmp_path), until=2)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["network"] == UNET
