"""Resume: a run that was stopped anywhere ends in the same bits as one that was not. Real processes, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tacit.commands.main import execute

# A task whose loss, in a process that is told to, waits in the middle of a round: the signal then falls into that round,
# after some owners have trained and remember it.
TASK = """
import os, time
from pathlib import Path
import numpy as np
from torch import nn
from torch.nn.functional import cross_entropy
import tacit

CALLS = [0]

def loss(outputs, targets):
    CALLS[0] += 1
    hold = os.environ.get("HOLD_AT")
    if hold is not None and CALLS[0] == int(hold):
        Path("held").touch()
        time.sleep(120)
    return cross_entropy(outputs, targets, reduction="none")

def held():
    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(120, 4)).astype(np.float32)
    targets = (inputs @ np.array([1.0, -2.0, 0.5, 0.0]) > 0).astype(np.int64)
    return tacit.Task(
        model=lambda: nn.Linear(4, 2), loss=loss,
        train=(inputs[:100], targets[:100]), test=(inputs[100:], targets[100:]),
    )
"""
FEDERATION = """
[task]
use = "held:held"
[population]
owners = 20
dropout = 0.1
[rounds]
total = 6
quorum = 0.2
participation = { use = "poisson", rate = 0.8 }
[local]
use = "sgd"
lr = 0.3
steps = 2
batch = 3
[privacy]
delta = 1e-3
[budget]
epsilon = inf
[evaluation]
every = 2
"""
# What each kind of state is carried by: owners' memories, an adapting stage and the ledger, the server's moments and tail.
KINDS = {
    "scaffold": ["--set", 'strategy={use="scaffold", tail_average=0.5}'],
    "adaptive-clip": [
        "--set", 'privacy.pipeline=[{stage="adaptive-clip", norm=0.5}, {stage="central-gaussian", noise_multiplier=4.0}]',
        "--set", "budget.epsilon=1000",
    ],
    "fedadam": [
        "--set", 'privacy.pipeline=[{stage="clip", norm=0.5}, {stage="central-gaussian", noise_multiplier=2.0}]',
        "--set", "budget.epsilon=100", "--set", 'strategy={use="fedadam", tail_average=0.5}',
    ],
}  # fmt: skip
PLAIN = ["--engine", "plain-loop"]  # which calls the loss for every owner on its own
HELD = 70  # a call of the loss in the third or fourth round: about 16 owners a round take two steps each


def result_of(folder: Path) -> dict[str, Any]:
    """The content of result.json without what a clock says."""
    result = json.loads((folder / "result.json").read_text())
    del result["timing"]
    for row in result["rounds"]:
        del row["seconds"]
    return result


def interrupted(folder: Path, kind: str, how: signal.Signals) -> tuple[int, str]:
    """Exit code and words of a run that got a signal in the middle of a round."""
    command = [sys.executable, "-m", "tacit", "simulate", "f.toml", "--seed", "3", "--out", "stopped", *PLAIN]
    process = subprocess.Popen(
        [*command, *KINDS[kind]], cwd=folder, env={**os.environ, "HOLD_AT": str(HELD)}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        while not (folder / "held").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(how)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, err


@pytest.mark.parametrize(
    ("kind", "how"),
    [("scaffold", signal.SIGINT), ("adaptive-clip", signal.SIGTERM), ("fedadam", signal.SIGKILL)],
    ids=["ctrl-c", "sigterm", "kill-9"],
)
def test_a_stopped_run_ends_in_the_same_bits(
    kind: str, how: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "held.py").write_text(TASK)
    (tmp_path / "f.toml").write_text(FEDERATION)
    code, err = interrupted(tmp_path, kind, how)
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    if how is signal.SIGKILL:
        assert code == -signal.SIGKILL
    else:
        assert code == 130
        assert "--resume --out stopped" in err
    assert (stopped / "checkpoint" / "state").exists()
    assert not (stopped / "result.json").exists()
    assert not list(stopped.rglob("*.tmp"))

    monkeypatch.chdir(tmp_path)
    sys.modules.pop("held", None)
    same = ["simulate", "f.toml", "--seed", "3", "--quiet", *PLAIN, *KINDS[kind]]
    assert execute([*same, "--out", "whole"]) == 0, capsys.readouterr().err
    assert execute([*same, "--out", "stopped", "--resume"]) == 0, capsys.readouterr().err
    assert (stopped / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert result_of(stopped) == result_of(whole)
    rows = [json.loads(line) for line in (stopped / "rounds.jsonl").read_text().splitlines()]
    assert [row["round"] for row in rows] == [2, 4, 6]
    sys.modules.pop("held", None)
