"""Lists, help, the demo, and the thin commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pellucid.methods import METHODS
from pellucid.operators.text import OPERATORS
from tests.cli.conftest import Command


def test_help_says_that_priors_invent(pellucid_: Command) -> None:
    for arguments in ([], ["--help"], ["restore", "--help"]):
        ran = pellucid_(*arguments)
        flat = " ".join(ran.out.split())
        assert ran.code == 0 and "prior invents detail" in flat and "diagnosis" in flat and "evidence" in flat


@pytest.mark.parametrize(
    "command", ["degrade", "demo", "verify", "list", "priors", "train", "bench", "overhead", "train prior"]
)
def test_every_command_has_help(pellucid_: Command, command: str) -> None:
    ran = pellucid_(*command.split(), "--help")
    assert ran.code == 0 and "Usage" in ran.out


def test_module_and_version() -> None:
    ran = subprocess.run([sys.executable, "-m", "pellucid", "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout.strip().count(".") == 2


def test_lists(pellucid_: Command) -> None:
    for what, names in (("methods", METHODS), ("operators", OPERATORS)):
        lines = pellucid_("list", what).out.splitlines()
        assert [line.split("\t")[0] for line in lines] == list(names)
        rows = json.loads(pellucid_("list", what, "--json").out)
        assert [row[what.removesuffix("s")] for row in rows] == list(names)
    assert "std" in pellucid_("list", "operators").out and "SSD" in pellucid_("list", "methods").out
    assert pellucid_("list", "priors").code == 0


def test_prior_cards(pellucid_: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "card.json").write_text(json.dumps({"name": "mine", "summary": "of mine", "licence": "CC0"}))
    monkeypatch.setenv("PELLUCID_ZOO", str(tmp_path))
    assert "mine\tprior\tof mine" in pellucid_("list", "priors").out
    assert "CC0" in pellucid_("priors", "info", "mine").out
    ran = pellucid_("priors", "info", "mime")
    assert ran.code == 8 and "did you mean 'mine'" in ran.err


def test_demo(pellucid_: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pellucid.zoo

    Image.new("RGB", (32, 24), (200, 120, 40)).save(tmp_path / "example.png")
    monkeypatch.setattr(pellucid.zoo, "example", lambda: tmp_path / "example.png")
    ran = pellucid_("demo", "--out", tmp_path / "new" / "demo")
    assert ran.code == 0, ran.err
    assert {p.name for p in (tmp_path / "new" / "demo").iterdir()} >= {"demo.png", "truth.png"}
    assert "dB" in ran.out and str(tmp_path / "new" / "demo" / "demo.png") in ran.out


def test_verify_is_wired(pellucid_: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pellucid.verify.cli

    seen: dict[str, object] = {}
    monkeypatch.setattr(pellucid.verify.cli, "run", lambda *args, **options: seen.update(args=args, **options))
    wanted = ("--operator", "identity", "-A", "grey", "--noise", "0.1", "--size", "16", "--set", "eta=0.5", "--json")
    assert pellucid_("verify", "ddrm", *wanted).code == 0
    assert seen["args"] == ("ddrm", ["identity", "grey"], 0.1, 16)
    assert seen["options"] == {"eta": 0.5} and seen["as_json_text"] is True and seen["everything"] is False


def test_overhead_is_wired(pellucid_: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import pellucid.bench.overhead

    seen: dict[str, object] = {}
    monkeypatch.setattr(pellucid.bench.overhead, "run", lambda **options: seen.update(options))
    assert pellucid_("overhead", "--size", "64", "--repeats", "1").code == 0
    assert seen["size"] == 64 and seen["repeats"] == 1
