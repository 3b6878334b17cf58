"""What the tests of verbs share: the program in this process, and a federation that trains in a fraction of a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tacit.commands.main import execute

SMALL = """
[task]
use = "breast-cancer"
[population]
owners = 12
[rounds]
total = 4
participation = { use = "poisson", rate = 0.5 }
[local]
use = "sgd"
lr = 0.5
[privacy]
pipeline = [ { stage = "clip", norm = 0.5 }, { stage = "central-gaussian", noise_multiplier = 2.0 } ]
[budget]
epsilon = 20.0
[evaluation]
every = 2
"""


@dataclass(frozen=True)
class Ended:
    """How one command line ended."""

    code: int
    out: str
    err: str


Program = Callable[..., Ended]


@pytest.fixture
def program(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Runs command lines in an empty folder of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*arguments: str) -> Ended:
        capsys.readouterr()
        code = execute(arguments)
        shown = capsys.readouterr()
        return Ended(code, shown.out, shown.err)

    return run


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The file of the small federation."""
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path
