"""The root: its names lead somewhere, and naming it costs nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest
import tacit


@pytest.mark.wheel
@pytest.mark.parametrize("name", tacit.__all__)
def test_every_name_of_the_root_exists(name: str) -> None:
    assert getattr(tacit, name) is not None
    assert name in dir(tacit)


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = tacit.nonsense


@pytest.mark.wheel
def test_importing_the_root_loads_nothing() -> None:
    code = "import sys, tacit; assert not {'torch', 'numpy', 'dp_accounting', 'pydantic', 'typer'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
