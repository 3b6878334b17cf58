"""Guards of the one-namespace layout: the folders lie at the root, the import name is `tacit`, nothing is forgotten."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = set(PYPROJECT["tool"]["setuptools"]["packages"])
ROOMS = {"commands", "privacy", "tasks", "strategies", "server", "client", "simulation"}
ROOT_MODULES = {"__init__", "__main__", "config"}
SKIPPED = {".venv", ".venv-peers", "build", "dist", ".git", "tests", ".types", "benchmarks", "docs"}


def sources() -> list[Path]:
    return [p for p in ROOT.rglob("*.py") if p.relative_to(ROOT).parts[0] not in SKIPPED]


def test_every_folder_with_an_init_is_declared() -> None:
    found = {".".join(("tacit", *p.parent.relative_to(ROOT).parts)) for p in sources() if p.name == "__init__.py"}
    assert found == PACKAGES


def test_root_modules_are_exactly_these() -> None:
    assert {p.stem for p in ROOT.glob("*.py")} == ROOT_MODULES


def test_types_folder_mirrors_the_rooms_and_root_modules() -> None:
    links = {p.name: p for p in (ROOT / ".types" / "tacit").iterdir()}
    assert set(links) == ROOMS | {f"{m}.py" for m in ROOT_MODULES} | {"py.typed"}
    for name, link in links.items():
        assert link.is_symlink()
        assert link.resolve() == ROOT / name


def test_no_test_folder_is_a_package() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_package_code_imports_its_own_rooms_relatively_only(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            continue
        for name in names:
            assert name.split(".")[0] not in ROOMS | {"config", "tacit"}, f"{path}: import {name} relatively"


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_tests_import_the_package_as_tacit_only(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: no relative imports in tests"
            assert (node.module or "").split(".")[0] not in ROOMS
        elif isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & ROOMS


def test_importing_the_root_loads_neither_torch_nor_dp_accounting() -> None:
    code = "import sys, tacit; print([m for m in ('torch', 'dp_accounting', 'flwr', 'opacus') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == "[]"
