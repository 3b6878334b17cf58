"""Further processes of a simulation: the same bits for any number of them, and an end that leaves nobody behind."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import torch
from tacit.config import Config, parse
from tacit.simulation.run import Simulation, prepare
from tacit.simulation.team import Team, TeamError
from tacit.simulation.transport import SimulationError, Vectorised

TEXT = """
[task]
use = "digits"
model = "mlp"
[population]
owners = 170
[rounds]
total = 3
[local]
use = "sgd"
lr = 0.3
batch = 5
[budget]
epsilon = inf
[evaluation]
every = 1
"""
CLIP, ENCODE = {"stage": "clip", "norm": 0.5}, {"stage": "encode"}
SHARED = [CLIP, ENCODE, {"stage": "discrete-gaussian", "noise_multiplier": 1.0}]
WORKS: dict[str, tuple[dict[str, Any], str, tuple[int, ...]]] = {
    "sums of reals": ({}, "low-rank", (1, 2, 3)),
    "what owners remember, in a ring": ({"strategy.use": "scaffold", "privacy.pipeline": SHARED,
                                         "privacy.relation": "zero-out"}, "plain-loop", (1, 2)),
}  # fmt: skip


def config(**changes: Any) -> Config:
    return parse(TEXT, changes)


def team_of(simulation: Simulation) -> Team:
    transport = simulation.transport
    assert isinstance(transport, Vectorised)
    assert transport.team is not None
    return transport.team


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("work", WORKS)
def test_any_number_of_processes_gives_the_same_bits(work: str) -> None:
    changes, engine, numbers = WORKS[work]
    found = []
    for workers in numbers:
        simulation = prepare(config(**changes), seed=5, engine=engine, workers=workers)
        rounds = simulation.rounds()
        next(rounds)
        if workers > 1:
            assert team_of(simulation).size == workers
        list(rounds)
        found.append(simulation)
    first = found[0]
    for other in found[1:]:
        assert torch.equal(other.progress.weights, first.progress.weights)
        assert other.transport.memories.keys() == first.transport.memories.keys()
        assert all(
            torch.equal(kept, first.transport.memories[owner]) for owner, kept in other.transport.memories.items()
        )
    assert bool(first.transport.memories) == (engine == "plain-loop")


def test_processes_go_with_the_run_and_a_killed_one_ends_it_with_a_word(tmp_path: Any) -> None:
    state = tmp_path / "state"
    simulation = prepare(config(), seed=5, workers=2, checkpoint=state)
    rounds = simulation.rounds()
    next(rounds)
    (hand,) = team_of(simulation)._hands
    os.kill(hand.process.pid, signal.SIGKILL)
    with pytest.raises(TeamError, match=r"one of 2 processes ended with signal 9; .*resume the run, with --workers 1"):
        list(rounds)
    assert not alive(hand.process.pid)
    again = prepare(config(), seed=5, workers=1, checkpoint=state, resume=True)
    assert again.progress.round >= 1
    list(again.rounds())
    whole = prepare(config(), seed=5, workers=1)
    list(whole.rounds())
    assert torch.equal(again.progress.weights, whole.progress.weights)


def test_stopping_in_the_middle_leaves_no_process_and_goes_on() -> None:
    simulation = prepare(config(), seed=5, workers=2)
    rounds = simulation.rounds()
    next(rounds)
    (hand,) = team_of(simulation)._hands
    with pytest.raises(KeyboardInterrupt):
        rounds.throw(KeyboardInterrupt())
    assert not alive(hand.process.pid)
    list(simulation.rounds())
    whole = prepare(config(), seed=5, workers=1)
    list(whole.rounds())
    assert torch.equal(simulation.progress.weights, whole.progress.weights)


def test_the_owner_named_at_a_fault_is_the_same_in_any_number_of_processes() -> None:
    said = []
    for workers in (1, 2):
        simulation = prepare(config(**{"local.lr": 1e38}), seed=5, workers=workers)
        with pytest.raises(SimulationError) as fault:
            list(simulation.rounds())
        said.append(str(fault.value))
    assert said[0] == said[1]
    assert "owner" in said[0]
