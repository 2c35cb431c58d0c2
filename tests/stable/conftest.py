"""One tiny folder of each family for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stable import folders


@pytest.fixture(scope="session")
def upscaler_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.upscaler(tmp_path_factory.mktemp("stable") / "upscaler")


@pytest.fixture(scope="session")
def inpainter_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.inpainter(tmp_path_factory.mktemp("stable") / "inpainter")
