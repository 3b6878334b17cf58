"""The comparison with peers, as far as it goes without them: what is asked, what is trained, what is said where they lack."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from math import prod
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def said(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, str(program), *arguments], capture_output=True, text=True, check=False, env=kept, timeout=120
    )


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """The benchmarks in a checkout that has no environment for peers."""
    shutil.copytree(BENCHMARKS, tmp_path / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"))
    own = tmp_path / ".venv" / "bin"
    own.mkdir(parents=True)
    (own / "python").symlink_to(sys.executable)
    return tmp_path / "benchmarks" / "peers.py"


def test_help_needs_no_peers(alone: Path) -> None:
    done = said(alone, "--help")
    assert done.returncode == 0, done.stderr
    assert "--quick" in done.stdout


def test_a_missing_environment_is_named_with_what_makes_it(alone: Path) -> None:
    done = said(alone, "--quick")
    assert done.returncode == 1
    assert done.stderr.strip().endswith(".venv-peers is no environment of Python; make it with `make .venv-peers`")
    assert "Traceback" not in done.stderr


CHECK = """
import sys
sys.path.insert(0, sys.argv[1])
from math import prod
import torch
from torch import nn
from works import BATCH, WORKS
for work in WORKS.values():
    model, found = work.model(), []
    layers = [each for each in model if isinstance(each, nn.Linear | nn.Conv2d)]
    hooks = [each.register_forward_hook(lambda m, given, out: found.append((m, out.shape))) for each in layers]
    inputs, targets = work.data()
    assert len(inputs) == len(targets) == work.clients * work.examples
    model(inputs[:1])
    shapes = [(prod(shape[2:]), m.weight[0].numel(), shape[1]) for m, shape in found]
    assert shapes == list(work.layers), (work.name, shapes)
    assert work.steps * BATCH == work.examples and work.rate * work.examples == BATCH
    print(work.name, sum(p.numel() for p in model.parameters()), work.flops)
"""


def test_the_matrices_of_the_limit_are_those_of_the_models() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHECK, str(BENCHMARKS)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    flops = 6 * 20 * (64 * 200 + 200 * 200 + 200 * 10)
    images = 6 * 50 * (prod((784, 75, 32)) + prod((196, 800, 64)) + 3136 * 512 + 5120)
    assert done.stdout.splitlines() == [f"W1 55210 {flops}", f"W2 1664970 {images}"]


FIGURES = """
import sys
sys.path.insert(0, sys.argv[1])
from asked import FIGURES, values
from peers import contenders
everybody = {each.key: 10.0 for work in ("W1", "W2") for each in contenders(work, sys.argv[2] == "quick")}
assert len(everybody) == len([1 for work in ("W1", "W2") for each in contenders(work, sys.argv[2] == "quick")])
lines = [figure.line(value) for figure, value in values(everybody)]
assert all("not measured" not in line for line in lines), lines
half = {key: rate / 2 if key.startswith("W1 tacit owner") else rate for key, rate in everybody.items()}
row = next((figure, value) for figure, value in values(half) if figure.row == "W1 owner-level DP")
print(row[1], row[0].line(row[1]).endswith("| missed |"), row[0].line(4.0).endswith("| held, goal too |"))
print(values({})[0][0].line(None))
"""


@pytest.mark.parametrize("way", ["whole", "quick"])
def test_every_figure_finds_its_contenders_and_knows_what_holds(way: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIGURES, str(BENCHMARKS), way], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "100.0 True True"
    assert second == "| W1 plain | Flower | not measured | ≥ 350.0 × |  | |"


PROTOCOL = """
import sys
sys.path.insert(0, sys.argv[1])
from turns import Turns
turns = Turns()
print("a library speaks")
turns.ready(version="1")
done = []
while turns.next():
    while True:
        done.append(1)
        if not turns.after_round():
            break
    break
sys.exit(len(done))
"""


def test_a_contender_answers_on_a_channel_of_its_own_and_ends_with_its_input() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROTOCOL, str(BENCHMARKS / "contenders")], input='{"rounds": 2}\n{"rounds": 3}\n',
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 5, done.stderr
    ready, *turns = done.stdout.splitlines()
    assert ready == '{"ready": {"version": "1"}}'
    assert len(turns) == 2
    assert all(line.startswith('{"seconds": ') for line in turns)
    assert "a library speaks" in done.stderr
