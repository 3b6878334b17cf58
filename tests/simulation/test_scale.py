"""Scale: ten thousand owners fit in 2 GB, whichever way they run. Measured in a process of their own, by its peak."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "population.py"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--engine", "plain-loop", "--rounds", "2", "--rate", "0.5"),
        ("--engine", "in-memory", "--rounds", "1", "--rate", "0.3"),
    ],
    ids=["plain-loop", "in-memory"],
)
def test_ten_thousand_owners_run_below_two_gigabytes(arguments: tuple[str, ...]) -> None:
    ended = subprocess.run(
        [sys.executable, str(PROGRAM), "--owners", "10000", *arguments], capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found = re.search(r"10,000 owners, \d rounds, softmax \((\S+)\): peak (\d+\.\d+) GB", ended.stdout)
    assert found is not None, ended.stdout
    assert found[1] == arguments[1]
    assert 0.05 < float(found[2]) < 2.0
