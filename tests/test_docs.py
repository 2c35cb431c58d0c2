"""The documentation is made from the code or executed by it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pellucid.methods import METHODS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PRIOR = sorted((ROOT / "zoo" / "photo").glob("*.safetensors"))


def test_pages_made_from_docstrings_are_up_to_date() -> None:
    check = subprocess.run([sys.executable, ROOT / "docs" / "build.py", "--check"], capture_output=True, text=True)
    assert check.returncode == 0, f"run `make docs`:\n{check.stdout}{check.stderr}"


def test_every_method_has_a_page() -> None:
    assert len(list((ROOT / "docs" / "methods").glob("*.md"))) == len(METHODS) + 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)  # code has brackets of its own
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.skipif(not PRIOR, reason="the photograph prior is not in this checkout")
def test_the_example_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("torch.Size([1, 3, 64, 64]) tensor([10])")


def test_contributing_fits_a_page() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 50
