"""The package as its users meet it: what importing costs, what it exports, what it depends on and ships."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import pellucid

ROOT = Path(__file__).parents[1]
PACKAGE = Path(pellucid.__file__).parent
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())

EXPORTED = [
    "AffineCodec",
    "Codec",
    "Consistency",
    "DiffusionPrior",
    "Estimate",
    "GaussianPrior",
    "Grid",
    "LinearOperator",
    "Method",
    "Operator",
    "PellucidError",
    "Prior",
    "Problem",
    "Process",
    "Result",
    "Spectral",
    "Start",
    "State",
    "Step",
    "Stop",
    "Transition",
    "__version__",
    "errors",
    "load_prior",
    "methods",
    "operators",
    "reconstruct",
    "stream",
]

IMPORTED = {
    "account",
    "codec",
    "consistency",
    "degradation",
    "engine",
    "errors",
    "grid",
    "loop",
    "method",
    "methods",
    "nn",
    "noise",
    "operators",
    "optimise",
    "prior",
    "problem",
    "process",
    "slots",
    "start",
    "step",
    "stop",
    "transition",
    "typing",
}

HEAVY = ["PIL", "accelerate", "diffusers", "gradio", "lancedb", "matplotlib", "peft", "ray", "rich", "safetensors"]
HEAVY += ["scipy", "tifffile", "torchmetrics", "torchvision", "transformers", "typer"]

MODULES = "import json, sys; print(json.dumps(sorted(sys.modules)))"


def modules_after(code: str) -> set[str]:
    """Modules that a fresh interpreter holds after running `code`."""
    run = subprocess.run([sys.executable, "-c", f"{code}; {MODULES}"], capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout))


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    return modules_after("from pellucid import *")


def test_the_bare_import_waits_for_nothing() -> None:
    assert not modules_after("import pellucid") & {"torch", "numpy"}
    assert modules_after("import pellucid; pellucid.Problem") >= {"torch"}


def test_import_loads_no_library_that_torch_does_not_load(loaded: set[str]) -> None:
    added = {name.partition(".")[0] for name in loaded - modules_after("import torch")}
    assert added - set(sys.stdlib_module_names) == {"pellucid"}
    assert not {name.partition(".")[0] for name in loaded} & set(HEAVY)


def test_import_loads_the_listed_parts_of_pellucid_only(loaded: set[str]) -> None:
    assert {name.split(".")[1] for name in loaded if name.startswith("pellucid.")} == IMPORTED


def test_exported_names() -> None:
    assert list(pellucid.__all__) == EXPORTED
    for name in EXPORTED:
        assert getattr(pellucid, name) is not None


def test_a_missing_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        pellucid.nonsense  # type: ignore[attr-defined]  # noqa: B018


def test_one_version_everywhere() -> None:
    version = PYPROJECT["project"]["version"]
    assert pellucid.__version__ == importlib.metadata.version("pellucid") == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    released = re.findall(r"^## \[(\d[^]]*)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert released[:1] in ([], [version])


def imports(source: Path) -> set[str]:
    """Top-level names of all that a file imports, at any depth."""
    names = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_no_file_imports_torchvision_and_none_unpickles() -> None:
    sources = sorted(PACKAGE.rglob("*.py"))
    assert len(sources) > 40
    for source in sources:
        assert not imports(source) & {"torchvision", "pickle", "cloudpickle", "dill"}, source


def requirements(distribution: str, extras: frozenset[str]) -> list[Requirement]:
    """What a distribution asks for on this machine with some of its extras."""
    asked = map(Requirement, importlib.metadata.requires(distribution) or [])
    environments = [{"extra": extra} for extra in extras or {""}]
    return [r for r in asked if r.marker is None or any(r.marker.evaluate(e) for e in environments)]


def closure(distribution: str, extras: set[str]) -> set[str]:
    """Names of everything that installing `distribution[extras]` brings, as far as it is installed here."""
    todo, seen = [(distribution, frozenset(extras))], set[tuple[str, frozenset[str]]]()
    while todo:
        item = todo.pop()
        if item in seen:
            continue
        seen.add(item)
        try:
            todo += [(canonicalize_name(r.name), frozenset(r.extras)) for r in requirements(*item)]
        except importlib.metadata.PackageNotFoundError:
            continue
    return {name for name, _ in seen}


def test_nothing_depends_on_torchvision() -> None:
    extras = set(importlib.metadata.metadata("pellucid").get_all("Provides-Extra") or [])
    names = closure("pellucid", {"", *extras})
    assert {"torch", "pytest"} <= names
    assert "torchvision" not in names


def test_the_extra_all_holds_every_other() -> None:
    extras: dict[str, list[str]] = PYPROJECT["project"]["optional-dependencies"]
    (everything,) = map(Requirement, extras["all"])
    assert everything.name == "pellucid"
    assert everything.extras == set(extras) - {"all", "iqa"}  # iqa brings torchvision


def test_the_core_needs_few_packages_and_a_bounded_torch() -> None:
    core = {r.name: str(r.specifier) for r in map(Requirement, PYPROJECT["project"]["dependencies"])}
    assert set(core) == {"torch", "numpy", "pillow", "safetensors", "tifffile", "typer", "rich"}
    assert core["torch"] == "<2.14,>=2.6"


def test_the_wheel_is_small_typed_and_carries_the_prior(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*build, "--wheel-dir", str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size <= 20e6
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert "pellucid/py.typed" in names
    shipped = {f"pellucid/{path.relative_to(ROOT)}" for path in (ROOT / "zoo" / "photo").iterdir() if path.is_file()}
    assert shipped and shipped <= names
    assert {name.partition("/")[0] for name in names} == {"pellucid", f"pellucid-{pellucid.__version__}.dist-info"}
