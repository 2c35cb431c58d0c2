"""What an import refuses to replace, and weights that no network has."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pellucid.checkpoints.convert import import_file
from pellucid.errors import PriorError
from pellucid.nn.dncnn import DnCNN


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.save(DnCNN(channels=1, width=4, depth=3).state_dict(), tmp_path / "dncnn.pth")
    return tmp_path / "dncnn.pth"


def test_force_replaces_what_an_import_made_and_nothing_else(file: Path, tmp_path: Path) -> None:
    photos, imported = tmp_path / "photos", tmp_path / "imported"
    photos.mkdir()
    (photos / "a.png").write_bytes(b"mine")
    with pytest.raises(PriorError, match="was not made by an import"):
        import_file(file, photos, replace=True)
    (photos / "card.json").write_text('{"name": "photos"}')
    with pytest.raises(PriorError, match="was not made by an import"):
        import_file(file, photos, replace=True)
    assert (photos / "a.png").read_bytes() == b"mine"
    with pytest.raises(PriorError, match="is a file, which --force does not replace"):
        import_file(file, file, replace=True)
    import_file(file, imported)
    with pytest.raises(PriorError, match=r"exists; choose another name, or --force"):
        import_file(file, imported)
    (imported / "a.png").write_bytes(b"mine")
    with pytest.raises(PriorError, match=r"holds a\.png, which no import wrote"):
        import_file(file, imported, replace=True)
    (imported / "a.png").unlink()
    (imported / "model.safetensors").write_bytes(b"damaged")
    import_file(file, imported, replace=True)
    assert (imported / "model.safetensors").stat().st_size > 100


def test_parents_are_made_but_not_in_a_prior_or_below_a_file(file: Path, tmp_path: Path) -> None:
    import_file(file, tmp_path / "a" / "b" / "c")
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == ["c"]
    for place in (tmp_path / "a" / "b" / "c" / "d", tmp_path / "a" / "b" / "c" / "d" / "e"):
        with pytest.raises(PriorError, match="is the folder of a network"):
            import_file(file, place)
    with pytest.raises(PriorError, match=r"dncnn\.pth is a file, which cannot hold x"):
        import_file(file, file / "x", replace=True)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(tmp_path: Path, bad: float) -> None:
    weights = DnCNN(channels=1, width=4, depth=3).state_dict()
    weights["model.2.bias"][1] = bad
    torch.save(weights, tmp_path / "dncnn.pth")
    with pytest.raises(PriorError, match=r"1 of the 4 numbers of model\.2\.bias are NaN or infinite"):
        import_file(tmp_path / "dncnn.pth", tmp_path / "a" / "b")
    assert [p.name for p in tmp_path.iterdir()] == ["dncnn.pth"]


def test_weights_of_whole_numbers(tmp_path: Path) -> None:
    weights = DnCNN(channels=1, width=4, depth=3).state_dict()
    weights["model.2.bias"] = weights["model.2.bias"].long()
    torch.save(weights, tmp_path / "dncnn.pth")
    with pytest.raises(PriorError, match=r"whole numbers where floating point belongs: model\.2\.bias is int64"):
        import_file(tmp_path / "dncnn.pth", tmp_path / "a")
