"""A row's key follows the content of every file that its result depends on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pellucid.bench import hashes, jobs, priors
from pellucid.bench.jobs import key, measurement
from pellucid.bench.measuring import Level
from pellucid.bench.plan import Plan
from pellucid.bench.resolve import resolve

Plans = Callable[..., Plan]


def card(folder: Path, **content: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.json").write_text(json.dumps({"name": folder.name, **content}))
    return folder


def test_a_latent_prior_is_known_by_its_codec_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PELLUCID_ZOO", str(tmp_path / "zoo"))
    prior = card(tmp_path / "own" / "latent", kind="latent-prior", codec="codec-x", sha256="0")
    card(tmp_path / "zoo" / "codec-x", kind="autoencoder", sha256="1")
    first = priors.fingerprint(str(prior))
    card(tmp_path / "zoo" / "codec-x", kind="autoencoder", sha256="23")
    second = priors.fingerprint(str(prior))
    card(tmp_path / "own" / "codec-x", kind="autoencoder", sha256="345")  # one beside the prior goes first
    assert len({first, second, priors.fingerprint(str(prior))}) == 3


def test_a_prior_without_a_codec_keeps_its_fingerprint(prior: Path) -> None:
    from hashlib import sha256

    inner = sha256((prior / "card.json").read_bytes()).digest()
    assert priors.fingerprint(str(prior)) == sha256(b"card.json" + inner).hexdigest()


def test_a_supervised_network_enters_by_its_content(
    plan: Plans, prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = card(tmp_path / "swin", kind="estimator", sha256="0")

    def keys() -> list[str]:
        options = {(run, level): {"initial": str(network), "n": 3} for run, level in pairs}
        found = jobs.jobs(experiment.plan, experiment.images, experiment.fingerprints, "float32", options)
        return [key for job in found for key in job.keys]

    experiment = resolve(plan())
    pairs = {(job.run, job.level) for job in experiment.jobs}
    before = keys()
    assert keys() == before
    card(network, kind="estimator", sha256="12")
    assert not set(before) & set(keys())
    assert list(hashes.of_networks(str(network), {"t": "pinv", "n": None})) == [str(network)]
    assert hashes.of_networks("ddnm", {"eta": 0.85, "initial": "tv"}) == {}


@pytest.mark.parametrize("text", ["kernel-blur:file={}", "compose:[kernel-blur:file={}],[bicubic:factor=4]"])
def test_a_file_of_the_operator_enters_by_its_content(text: str, plan: Plans, tmp_path: Path) -> None:
    file = tmp_path / "kernel.npy"

    def keys() -> list[str]:
        return [key for job in resolve(whole).jobs for key in job.keys]

    whole = plan(task=[{"name": "blur", "operator": text.format(file)}])
    np.save(file, np.full((3, 3), 1.0))
    before = keys()
    assert keys() == before
    np.save(file, np.eye(5))
    assert not set(before) & set(keys())


def test_a_folder_of_weights_enters_by_its_content(tmp_path: Path) -> None:
    folder = card(tmp_path / "wizard", sha256="0")
    (folder / "model.safetensors").write_bytes(b"1")
    text = f"bkse:weights={folder},seed=1"
    first = hashes.of_operator(text)
    (folder / "model.safetensors").write_bytes(b"23")
    second = hashes.of_operator(text)
    assert first.keys() == second.keys() == {str(folder)} and first != second
    shutil.rmtree(folder)
    assert hashes.of_operator(text) == {str(folder): ""}  # building the operator says what is missing


def test_the_measurements_part_of_the_key_knows_the_task_and_no_method(plan: Plans) -> None:
    experiment = resolve(plan(task=[{"name": "t", "operator": "identity", "noise": [0.0, 0.1]}]))
    data, image = experiment.plan.data, experiment.images[0]
    a, b = (Level(experiment.plan.task[0], noise) for noise in experiment.plan.task[0].levels)
    assert measurement(data, a, image) != measurement(data, b, image) == measurement(data, b, image)
    assert key(data, a, image, ["ddnm"]) != key(data, a, image, ["ssd"])
