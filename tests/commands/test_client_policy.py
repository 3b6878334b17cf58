"""`tacit client policy check`: what it prints, and the code that it leaves with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

AGENT = """
[policy]
tasks = [ { use = "breast-cancer" } ]
unit = "owner"
relation = "zero-out"
colluders = 0
smallest_cohort = 5
epsilon = 6.0
delta = 1e-5
hours = ["Mon-Fri 09:00-17:00"]
approve_first = true
[assets.ward3]
task = "breast-cancer"
source = "csv:ward3.csv"
"""
FEDERATION = """
[task]
use = "breast-cancer"
[population]
owners = 12
[rounds]
total = 20
[privacy]
relation = "zero-out"
pipeline = [ { stage = "clip", norm = 0.5 }, { stage = "own-gaussian", noise_multiplier = 8.0 } ]
[budget]
observer = "server"
epsilon = 50.0
"""


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(AGENT)
    (tmp_path / "federation.toml").write_text(FEDERATION)


def test_an_owner_that_would_take_part(program) -> None:
    ended = program("client", "policy", "check", "federation.toml")
    assert ended.code == 0
    assert "This owner would take part" in ended.out
    assert "2.258" in ended.out
    assert "tacit client approve" in ended.out
    assert "Mon-Fri 09:00-17:00" in ended.out


def test_an_owner_that_would_not_leaves_with_3_and_every_reason(program) -> None:
    changes = ("--set", "rounds.total=2000", "--set", "rounds.quorum=0.3")
    ended = program("client", "policy", "check", "federation.toml", "--policy", "agent.toml", *changes)
    assert ended.code == 3
    assert "Against it (cohort)" in ended.out
    assert "Against it (budget-life)" in ended.out
    assert "2 reasons" in ended.err


def test_json_has_the_same(program) -> None:
    ended = program("client", "policy", "check", "federation.toml", "--json")
    found = json.loads(ended.out)
    assert (ended.code, found["takes_part"], found["refusals"]) == (0, True, [])
    ended = program("client", "policy", "check", "federation.toml", "--json", "--set", "privacy.relation=replace-one")
    found = json.loads(ended.out)
    assert (ended.code, found["takes_part"]) == (3, False)
    assert [refusal["code"] for refusal in found["refusals"]] == ["relation"]
    assert ended.err == ""


@pytest.mark.parametrize("wrong", ["agent.toml", "federation.toml"])
def test_a_file_that_makes_no_sense_is_usage(program, tmp_path: Path, wrong: str) -> None:
    (tmp_path / wrong).write_text("[policy]\ntask = 3\n")
    ended = program("client", "policy", "check", "federation.toml")
    assert ended.code == 2
    assert ended.out == ""
