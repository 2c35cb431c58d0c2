"""Priors that the usual methods do not suit: denoisers for plug-and-play methods, and processes in continuous time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import pellucid.zoo
from pellucid.nn.dncnn import DnCNN
from pellucid.nn.swinir import SwinIR
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.process import VE
from tests.cli.conftest import Command, shrink

BLUR = ("-A", "gaussian-blur:std=1", "--noise", "0.1")


def settings(out: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(out)["settings"]
    return found


@pytest.fixture
def dncnn(tmp_path: Path, pellucid_: Command) -> Path:
    torch.save(DnCNN(channels=3, width=4, depth=3).state_dict(), tmp_path / "dncnn.pth")
    ran = pellucid_("import", tmp_path / "dncnn.pth", "-o", tmp_path / "folder")
    assert ran.code == 0 and f"--prior {tmp_path / 'folder'} -m pnp-admm --operator" in ran.out, ran
    return tmp_path / "folder"


def test_a_denoiser_is_given_to_admm(pellucid_: Command, photo: Path, dncnn: Path, tmp_path: Path) -> None:
    ran = pellucid_("restore", photo, *BLUR, "--prior", dncnn, "--nfe", "3", "--json", "-o", tmp_path / "x.png")
    assert ran.code == 0 and settings(ran.out)["method"] == "pnp-admm" and json.loads(ran.out)["nfe"] == 3, ran.err
    found = settings(pellucid_("restore", photo, *BLUR, "--prior", dncnn, "--dry-run", "--json").out)
    assert found["options"]["sigma_d"] == found["options"]["sigma_first"] == 0.25 and found["options"]["nfe"] == 12
    given = ("--set", "sigma_d=0.1", "--dry-run", "--json")
    assert settings(pellucid_("restore", photo, *BLUR, "--prior", dncnn, *given).out)["options"]["sigma_d"] == 0.1
    for method in ("ddrm", "dps", "ssd+", "unconditional"):
        ran = pellucid_("restore", photo, *BLUR, "--prior", dncnn, "-m", method)
        assert ran.code == 5 and method in ran.err and "-m pnp-admm" in ran.err and ran.err.count("\n") == 1
    for method in ("pnp-admm", "pinv", "admm-tv"):
        assert pellucid_("restore", photo, *BLUR, "--prior", dncnn, "-m", method, "--dry-run").code == 0
    ran = pellucid_("restore", photo, "-A", "hdr", "--prior", dncnn)
    assert ran.code == 5 and "linear" in ran.err and "--prior photo" in ran.err


@pytest.mark.parametrize("operator", ["gaussian-blur:std=1", "motion-blur:size=5"])
def test_continuous_time_is_given_to_dps(
    pellucid_: Command, photo: Path, tmp_path: Path, operator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prior = DiffusionPrior(shrink, VE(50.0, 0.01), "denoiser", channels=3)
    monkeypatch.setattr(pellucid.zoo, "load", lambda *_, **__: prior)
    options = ("-A", operator, "--noise", "0.1", "--nfe", "5", "--json")
    ran = pellucid_("restore", photo, *options, "-o", tmp_path / "x.png")
    assert ran.code == 0 and settings(ran.out)["method"] == "dps", ran.err


@pytest.mark.parametrize(("upsampler", "words"), [("", ""), ("pixelshuffledirect", " --operator bicubic:factor=2")])
def test_an_imported_estimator_is_a_method(
    pellucid_: Command, photo: Path, tmp_path: Path, upsampler: str, words: str
) -> None:
    network = SwinIR(
        width=8, depths=[2], heads=[2], window=8, mlp_ratio=2.0, upscale=2 if upsampler else 1, upsampler=upsampler
    )
    torch.save(network.state_dict(), tmp_path / "s.pth")
    ran = pellucid_("import", tmp_path / "s.pth", "-o", tmp_path / "s")
    assert ran.code == 0 and ran.out.splitlines()[-1] == f"next: pellucid restore PICTURE -m {tmp_path / 's'}{words}"
    arguments = ran.out.splitlines()[-1].removeprefix("next: pellucid restore PICTURE ").split()
    ran = pellucid_("restore", photo, *arguments, "-o", tmp_path / "x.png")
    assert ran.code == 0, ran.err
