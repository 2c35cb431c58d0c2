"""`pellucid train`, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.train.settings import NETWORKS, toml, words

pytest.importorskip("accelerate")


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_kind_trains_resumes_and_is_shipped(pellucid_: Command, tmp_path: Path, kind: str) -> None:
    settings = words(kind, tmp_path, steps=3)
    extra: tuple[str, ...] = ()
    if kind == "supervised":  # both have options of their own
        extra = ("--operator", str(settings.pop("operator")), "--network", "swinir")
    config = tmp_path / "c.toml"
    config.write_text(toml(settings))
    first = pellucid_("train", kind, str(config), "--until", "2", *extra)
    assert first.code == 0 and "step 2 of 3" in first.out, first.err
    second = pellucid_("train", kind, str(config), *extra)
    assert second.code == 0 and "step 3 of 3" in second.out, second.err
    shipped = pellucid_("train", "ship", str(tmp_path / "run"), "--to", str(tmp_path / "mine"))
    assert shipped.code == 0, shipped.err
    card = json.loads((tmp_path / "mine" / "card.json").read_text())
    assert card["training"]["steps"] == 3 and card["command"].startswith("pellucid")


def test_what_cannot_be_trained_is_said(pellucid_: Command, tmp_path: Path) -> None:
    ran = pellucid_("train", "prior", str(tmp_path / "none.toml"))
    assert ran.code == 7 and "cannot read" in ran.err
    (tmp_path / "c.toml").write_text(f'data = "{tmp_path / "empty"}"\nout = "o"')
    ran = pellucid_("train", "prior", str(tmp_path / "c.toml"))
    assert ran.code == 7 and "do not exist" in ran.err
    ran = pellucid_("train", "ship", str(tmp_path))
    assert ran.code == 7 and "--kind" in ran.err


def test_what_would_end_in_a_traceback_or_in_lost_files_is_refused(pellucid_: Command, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text(toml(words("prior", tmp_path, crops=(33,), crop_odds=(1.0,))))
    ran = pellucid_("train", "prior", str(config))
    assert ran.code == 7 and "multiples of" in ran.err and not (tmp_path / "run").exists()
    config.write_text(toml(words("prior", tmp_path, steps=2)))
    assert pellucid_("train", "prior", str(config)).code == 0
    ran = pellucid_("train", "ship", str(config), "--to", str(tmp_path / "data"))
    assert ran.code == 7 and "holds other files" in ran.err
    assert not (tmp_path / "data" / "card.json").exists()
    ran = pellucid_("train", "ship", str(config), "--to", str(tmp_path / "mine"))
    assert ran.code == 0 and "no quality measured" in ran.out
    assert pellucid_("train", "ship", str(config), "--to", str(tmp_path / "mine")).code == 0
