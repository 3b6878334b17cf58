"""Patience: attempts are spread over time where owners said that they cannot just now, and nowhere else."""

from __future__ import annotations

import pytest
from tacit.server.metrics import Metrics
from tacit.server.patience import Patience
from tacit.server.witness import Witness
from tacit.strategies.messages import Reply, Request


class Nobody:
    def gather(self, requests: list[Request], deadline: float) -> list[Reply]:
        return []


def slept(deadline: float, attempts: int, waits: bool) -> list[float]:
    found: list[float] = []
    witness = Witness(Nobody(), Metrics())
    if waits:
        witness._lasting.add(0)
    patience = Patience(witness, deadline, found.append)
    for left in range(attempts - 1, 0, -1):
        patience(left)
    return found


@pytest.mark.parametrize("deadline", [0.5, 20.0, 3600.0])
@pytest.mark.parametrize("attempts", [2, 3, 50, 100])
def test_the_last_attempt_has_the_whole_deadline_before_it_and_none_has_more(deadline: float, attempts: int) -> None:
    found = slept(deadline, attempts, waits=True)
    assert found == sorted(found)
    assert found[-1] == deadline
    assert all(min(1.0, deadline) <= each <= deadline for each in found)
    assert slept(deadline, attempts, waits=False) == []


def test_three_attempts_of_a_minute() -> None:
    assert slept(60.0, 3, waits=True) == [30.0, 60.0]
