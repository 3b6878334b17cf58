"""Bad input: each ends in one screen with the key, the value and the remedy, in its exit code, with nothing half-written."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

CLIP = '{stage="clip", norm=0.5}'
NOISE = '{stage="central-gaussian", noise_multiplier=2.0}'
SOLVED = '{stage="central-gaussian", noise_multiplier="calibrate"}'
EXAMPLE = ["privacy.unit=example", "privacy.delta=1e-4", "budget.observer=server", "budget.epsilon=50"]
DPSGD = 'local={use="dp-sgd", norm=1.0, noise_multiplier=2.0, rate=0.1, denominator=4}'

# Settings on top of the small federation, exit code, and words that the screen must hold: key or value, then remedy.
CASES: dict[str, tuple[list[str], int, list[str]]] = {
    "unknown key": (["rounds.totl=5"], 2, ["rounds.totl = 5", "did you mean 'total'"]),
    "unknown key of a row": (["local.learning=1"], 2, ["local.learning = 1", "sgd takes"]),
    "wrong type": (["rounds.total=many"], 2, ["rounds.total = 'many'", "valid integer"]),
    "wrong type in a row": (["local.lr=fast"], 2, ["local.lr = 'fast'", "valid number"]),
    "unknown stage": ([f'privacy.pipeline=[{{stage="clop"}}, {NOISE}]'], 2, ["'clop'", "did you mean 'clip'"]),
    "unknown task": (["task.use=digit"], 2, ["'digit'", "digits"]),
    "task without module": (["task.use=nowhere:task"], 2, ["nowhere", "mend the name"]),
    "unknown task option": (["task.model=huge"], 2, ["'huge'", "logistic"]),
    "cohort above population": (
        ['rounds.participation={use="fixed", cohort=13}'], 2, ["cohort = 13 of 12", "at most 12"]
    ),
    "rate of nothing": (['rounds.participation={use="poisson", rate=0.0}'], 2, ["rate = 0", "above 0"]),
    "cycles too long": (
        ['rounds.participation={use="cyclic", cohort=6, separation=3}'], 2, ["needs 18 owners", "lower one of them"]
    ),
    "more owners than examples": (["population.owners=1000"], 2, ["owners = 1000", "at most"]),
    "delta above one over N": (["privacy.delta=0.1"], 2, ["privacy.delta = 0.1", "1/N", "N^-1.1"]),
    "delta that is no number": (["privacy.delta=small"], 2, ["privacy.delta = 'small'", "N^-1.1"]),
    "fixed cohort under add-remove": (
        ['rounds.participation={use="fixed", cohort=3}'], 2, ["fixed cohort", 'relation = "replace-one"']
    ),
    "central noise against the server": (
        ["budget.observer=server"], 2, ["'server' cannot be met", "sees the sum without it", "another observer"]
    ),
    "amplification against the server": (
        ["budget.observer=server", f"privacy.pipeline=[{CLIP}, {SOLVED}]"],
        2, ["'server' cannot be met", "another observer"],
    ),
    "data-weighted mean": (["strategy.aggregator=weighted-mean"], 2, ["'weighted-mean'", "private", "uniform mean"]),
    "median over sums": (["strategy.aggregator=median"], 2, ["'median'", "only the sum", "leave it out"]),
    "noise without a bound": ([f"privacy.pipeline=[{NOISE}]"], 2, ["nothing bounds", "put a clip before it"]),
    "wrong order": ([f"privacy.pipeline=[{NOISE}, {CLIP}]"], 2, ["central-gaussian", "put a clip before it"]),
    "a ring too small": (
        [f'privacy.pipeline=[{CLIP}, {NOISE}, {{stage="encode", bits=8}}]'], 2, ["ring of 8 bits", "give encode bits"]
    ),
    "unit that the solver does not bound": (["privacy.unit=example"], 2, ["privacy.unit = 'example'", "change one"]),
    "BatchNorm with DP-SGD": (["task.use=own:batch_norm", DPSGD, "privacy.pipeline=[]", *EXAMPLE], 2, ["BatchNorm"]),
    "two noises to calibrate": (
        [f"privacy.pipeline=[{CLIP}, {SOLVED}]", DPSGD.replace("2.0", '"calibrate"')],
        2, ["two places", "must be a number"],
    ),
    "calibrate without a budget": (
        [f"privacy.pipeline=[{CLIP}, {SOLVED}]", "budget.epsilon=inf"],
        2, ["calibrate", "budget.epsilon"],
    ),
    "over budget": (["budget.epsilon=0.3"], 3, ["budget.epsilon = 0.3", "raise the budget", "noise"]),
    "not one round fits": (
        ["budget.epsilon=0.01", "budget.on_exhausted=stop"], 3, ["budget.epsilon = 0.01", "single round", "add noise"]
    ),
    "NaN in the data": (["task.use=own:not_a_number"], 1, ["example 7", "not a finite", "remove the row"]),
    "a loss that is a mean": (["task.use=own:mean_loss"], 2, ["one number per example", 'reduction="none"']),
    "training that diverges": (["task.use=own:steep", "local.lr=1e38"], 1, ["owner", "not finite", "local.lr"]),
    "nobody answers": (["population.dropout=0.999"], 1, ["below quorum", "rounds.quorum"]),
}  # fmt: skip

OWN = """
import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
import tacit

RNG = np.random.default_rng(1)
INPUTS = RNG.normal(size=(60, 3)).astype(np.float32)
TARGETS = (INPUTS[:, 0] > 0).astype(np.int64)

def loss(outputs, targets):
    return cross_entropy(outputs, targets, reduction="none")

def _task(model=lambda: nn.Linear(3, 2), loss=loss, inputs=INPUTS):
    return tacit.Task(model=model, loss=loss, train=lambda: (inputs[:48], TARGETS[:48]), test=(INPUTS[48:], TARGETS[48:]))

def batch_norm():
    return _task(model=lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)))

def not_a_number():
    wrong = INPUTS.copy()
    wrong[7, 1] = np.nan
    return _task(inputs=wrong)

def mean_loss():
    return _task(loss=lambda outputs, targets: cross_entropy(outputs, targets))

def steep():
    return _task(loss=lambda outputs, targets: 1e6 * loss(outputs, targets))
"""


@pytest.mark.parametrize("name", CASES)
def test_one_screen_and_nothing_half_written(program, small: Path, name: str) -> None:
    settings, code, words = CASES[name]
    (small.parent / "own.py").write_text(OWN)
    sys.modules.pop("own", None)
    arguments = [part for setting in settings for part in ("--set", setting)]
    ended = program("simulate", str(small), "--out", "run", *arguments)
    assert ended.code == code, ended
    assert len(ended.err.splitlines()) <= 20
    assert "Traceback" not in ended.err
    assert "fault of Tacit" not in ended.err
    for word in words:
        assert word in ended.err, ended.err
    assert not (small.parent / "run").exists()
    assert not list(small.parent.glob("tacit-fault*"))


def test_a_damaged_checkpoint_is_refused(program, small: Path) -> None:
    assert program("simulate", str(small), "--out", "run", "-q").code == 0
    state = small.parent / "run" / "checkpoint" / "state"
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)
    ended = program("simulate", str(small), "--out", "run", "--resume")
    assert ended.code == 1
    assert "damaged" in ended.err
    assert "without --resume" in ended.err
    assert state.read_bytes() == bytes(content)


def test_a_checkpoint_of_another_seed_is_refused(program, small: Path) -> None:
    assert program("simulate", str(small), "--out", "run", "-q").code == 0
    ended = program("simulate", str(small), "--out", "run", "--resume", "--seed", "5")
    assert ended.code == 1
    assert "seed 0" in ended.err
    assert "seed 5" in ended.err


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("csv:missing.csv", ["missing.csv", "No such file"]),
        ("csv:words.csv", ["words.csv", "no column"]),
        ("csv:nan.csv", ["nan.csv: row 3", "not finite"]),
        ("npz:words.csv", ["not a NumPy archive", "numpy.savez"]),
        ("xls:x.xls", ["reads csv, npz"]),
        ("nonsense", ["csv:PATH"]),
    ],
)
def test_data_that_cannot_be_read(program, small: Path, source: str, words: list[str]) -> None:
    from tacit.tasks.breast_cancer import MEASURES

    assert program("simulate", str(small), "--out", "run", "-q").code == 0
    Path("words.csv").write_text("a,b\n1,2\n")
    rows = [",".join([*MEASURES, "target"]), ",".join(["1"] * 31), ",".join(["nan"] + ["1"] * 30)]
    Path("nan.csv").write_text("\n".join(rows))
    ended = program("evaluate", "run", "--on", source)
    assert ended.code == 1
    for word in words:
        assert word in ended.err, ended.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["simulate", "none.toml"], ["none.toml", "tacit init"]),
        (["simulate", "broken.toml"], ["broken.toml", "not valid TOML"]),
        (["simulate", "small.toml", "--set", "rounds"], ["'rounds'", "key=value"]),
        (["simulate", "small.toml", "--device", "abacus"], ["'abacus'", "cpu"]),
        (["simulate", "small.toml", "--engine", "steam"], ["'steam'", "plain-loop"]),
        (["simulate", "small.toml", "--resume"], ["no unfinished or finished run", "--out"]),
        (["simulate", "small.toml", "--resume", "--out", "none"], ["no checkpoint", "without --resume"]),
        (["simulate", "small.toml", "--out", "small.toml"], ["is a file", "give a folder"]),
    ],
)
def test_wrong_files_and_options(program, small: Path, arguments: list[str], words: list[str]) -> None:
    Path("broken.toml").write_text("task = {")
    before = sorted(Path().rglob("*"))
    ended = program(*arguments)
    assert ended.code == 2, ended
    for word in words:
        assert word in ended.err, ended.err
    assert sorted(Path().rglob("*")) == before


# 513 numbers and 40 entries of the ledger: a checkpoint that grows from 2.5 kB to twice that.
LONG = ["simulate", "small.toml", "--set", "task.model=mlp", "--set", "rounds.total=40"]


def on_a_full_disk(small: Path, limit: int) -> subprocess.CompletedProcess[str]:
    """A real process whose files may not grow beyond `limit` bytes: the error path of a full disk, without a mount."""

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "-m", "tacit", *LONG, "--out", "run", "--json"], cwd=small.parent, preexec_fn=full,
        capture_output=True, text=True, check=False, env={**os.environ, "TMPDIR": str(small.parent)},
    )  # fmt: skip


@pytest.mark.parametrize("limit", [100, 1100], ids=["nothing fits", "no checkpoint fits"])
def test_a_full_disk_leaves_nothing_half_written(small: Path, limit: int) -> None:
    ended = on_a_full_disk(small, limit)
    assert ended.returncode == 1, ended
    message = json.loads(ended.stdout)["error"]["message"]
    assert "cannot be written" in message
    assert "free some space or choose another --out" in message
    assert "Traceback" not in ended.stderr
    assert not (small.parent / "run").exists()


def test_a_disk_that_fills_up_leaves_a_whole_checkpoint(program, small: Path) -> None:
    ended = on_a_full_disk(small, 3000)
    assert ended.returncode == 1, ended
    assert "--resume" in json.loads(ended.stdout)["error"]["message"]
    run = small.parent / "run"
    assert not (run / "result.json").exists()
    assert not list(run.rglob("*.tmp"))
    assert program(*LONG, "--out", "run", "--resume", "-q").code == 0
    assert program(*LONG, "--out", "whole", "-q").code == 0
    assert (run / "model.safetensors").read_bytes() == Path("whole/model.safetensors").read_bytes()


def test_an_unforeseen_error_leaves_its_story_and_no_run(program, small: Path) -> None:
    (small.parent / "own.py").write_text("def crash():\n    raise KeyError('planted')\n")
    sys.modules.pop("own", None)
    ended = program("simulate", str(small), "--out", "run", "--set", "task.use=own:crash")
    assert ended.code == 1
    assert "fault of Tacit" in ended.err
    story = Path(next(word for word in ended.err.split() if "tacit-fault-" in word).rstrip("."))
    assert "planted" in story.read_text()
    story.unlink()
    assert not (small.parent / "run").exists()
