"""What the built wheel must hold; also passes in the checkout."""

from __future__ import annotations

import importlib
import os
import tomllib
from pathlib import Path

import pytest
import tacit

PYPROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.wheel
@pytest.mark.parametrize("package", PYPROJECT["tool"]["setuptools"]["packages"])
def test_every_declared_package_imports(package: str) -> None:
    assert importlib.import_module(package).__name__ == package


@pytest.mark.wheel
def test_the_package_under_test_is_the_wheels_where_one_was_named() -> None:
    where = os.environ.get("TACIT_WHEEL")
    assert tacit.__file__ is not None
    if where:
        assert Path(tacit.__file__).is_relative_to(where)


@pytest.mark.wheel
def test_the_package_is_typed() -> None:
    assert tacit.__file__ is not None
    assert Path(tacit.__file__).with_name("py.typed").is_file()
