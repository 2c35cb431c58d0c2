"""What is said where an index is looked for and something else lies there."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from pellucid.errors import ConfigError
from pellucid.retrieval import Index

pytest.importorskip("lancedb")


def test_a_folder_of_pictures_is_told_from_an_index_and_never_becomes_one(tmp_path: Path) -> None:
    pictures = tmp_path / "photos"
    pictures.mkdir()
    Image.new("RGB", (32, 32)).save(pictures / "a.png")
    with pytest.raises(ConfigError, match=r"folder of pictures, no index; .*photos -o .*photos\.index"):
        Index.open(pictures)
    with pytest.raises(ConfigError, match=r"an index goes into a folder of its own, .*photos\.index"):
        Index.create(pictures, "pixel")
    assert [path.name for path in pictures.iterdir()] == ["a.png"]


def test_a_name_that_is_nearly_right_is_offered(tmp_path: Path) -> None:
    Index.create(tmp_path / "photos.index", "pixel")
    with pytest.raises(ConfigError, match=r"did you mean .*photos\.index\?"):
        Index.open(tmp_path / "phots.index")
    with pytest.raises(ConfigError, match="pellucid index build FOLDER -o"):
        Index.open(tmp_path / "scans.index")
