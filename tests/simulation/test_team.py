"""Teams: when further processes are called in, and why not; what they do is in tests/deployment/test_team.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tacit.config import Config, ConfigError, parse
from tacit.simulation.run import Simulation, prepare
from tacit.simulation.team import Team
from tacit.simulation.transport import Vectorised
from tacit.tasks.examples import Examples
from tacit.tasks.losses import cross_entropy
from tacit.tasks.task import Task
from torch import Tensor, nn

TEXT = """
[task]
use = "digits"
[population]
owners = 130
[rounds]
total = 4
[local]
use = "sgd"
lr = 0.3
batch = 5
[budget]
epsilon = inf
[evaluation]
every = 100
"""
CONFIG = parse(TEXT)


def team_of(simulation: Simulation) -> Team:
    transport = simulation.transport
    assert isinstance(transport, Vectorised)
    assert transport.team is not None
    return transport.team


class Clock:
    """Every round takes `seconds`: two looks at the clock are a round."""

    def __init__(self, seconds: float) -> None:
        self.looks: Iterator[float] = (look * seconds for look in range(1000))

    def __call__(self) -> float:
        return next(self.looks)


def called(monkeypatch: pytest.MonkeyPatch, seconds: float, workers: int = 2) -> list[int]:
    """The rounds to come when processes were called in, where every round takes so many seconds."""
    found: list[int] = []

    def note(team: Team, *given: object) -> None:
        found.append(team.rounds)
        team._over = True

    monkeypatch.setattr(Team, "_call", note)
    simulation = prepare(CONFIG)
    transport = simulation.transport
    assert isinstance(transport, Vectorised)
    transport.team = Team(workers, simulation.total, clock=Clock(seconds))
    list(simulation.rounds())
    return found


def test_processes_are_called_in_after_the_first_round_that_says_that_they_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    assert called(monkeypatch, seconds=10.0) == [3]


def test_short_rounds_call_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    assert called(monkeypatch, seconds=1.0) == []


def test_one_process_calls_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    assert called(monkeypatch, seconds=1000.0, workers=1) == []


@pytest.mark.parametrize("workers", [0, -1])
def test_fewer_than_one_process_is_refused(workers: int) -> None:
    with pytest.raises(ConfigError, match=f"workers = {workers}: give at least 1"):
        prepare(CONFIG, workers=workers)


def task(loss: Any) -> Task:
    generator = torch.Generator().manual_seed(0)
    data = Examples(torch.randn(300, 6, generator=generator), torch.randint(0, 3, (300,), generator=generator))
    return Task(model=lambda: nn.Linear(6, 3), loss=loss, train=data, test=data)


def hidden(outputs: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(outputs, targets)


@pytest.mark.parametrize("loss", ["a lambda", "of the script"])
def test_a_task_that_no_other_process_could_have_is_trained_in_one_and_why_is_said(
    loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = "put it in a module"
    given = hidden
    if loss == "a lambda":
        given, expected = (lambda outputs, targets: cross_entropy(outputs, targets)), "not to be handed"
    else:
        monkeypatch.setattr(hidden, "__module__", "__main__")
        monkeypatch.setitem(vars(sys.modules["__main__"]), "hidden", hidden)
    simulation = prepare(CONFIG, task=task(given), workers=3)
    list(simulation.rounds())
    assert simulation.progress.round == 4
    assert expected in team_of(simulation).why
    assert team_of(simulation).size == 1


def test_a_cohort_that_is_one_group_needs_one_process() -> None:
    few: Config = parse(TEXT, {"population.owners": 40})
    simulation = prepare(few, workers=2)
    list(simulation.rounds())
    assert team_of(simulation).size == 1


def test_real_workers_and_one_worker_have_no_team() -> None:
    assert prepare(CONFIG, engine="in-memory", workers=4).processes == "1"
    assert prepare(CONFIG, workers=1).processes == "1"
    assert prepare(CONFIG, workers=4).processes == "4"
