"""Patience: attempts are spread over time where owners said that they cannot just now, and nowhere else."""

from __future__ import annotations

import pytest
import torch
from tacit.server.metrics import Metrics
from tacit.server.patience import Patience
from tacit.server.witness import Witness
from tacit.strategies.messages import Recipe, Reply, Request
from tacit.strategies.terms import Terms

RECIPE = Recipe({}, {}, (), 1, 1, Terms({"use": "digits"}, "tacit 0", "zero-out", {"use": "everyone"}, 1, 1))
REQUEST = Request("run", 1, 0, 0, RECIPE, torch.zeros(1))


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
        assert patience(left)
    return found


@pytest.mark.parametrize("deadline", [0.5, 20.0, 3600.0])
@pytest.mark.parametrize("attempts", [2, 3, 50, 100])
def test_the_last_attempt_has_the_whole_deadline_before_it_and_none_has_more(deadline: float, attempts: int) -> None:
    found = slept(deadline, attempts, waits=True)
    assert found == sorted(found)
    assert found[-1] == deadline
    assert all(min(1.0, deadline) <= each <= deadline for each in found)
    assert slept(deadline, attempts, waits=False) == []


def test_a_policys_no_is_not_asked_for_twice() -> None:
    class Denying:
        def gather(self, requests: list[Request], deadline: float) -> list[Reply]:
            return [Reply("run", 1, 0, (each.owner,), "refused", reason="no", code="clip") for each in requests]

    witness = Witness(Denying(), Metrics())
    patience = Patience(witness, 60.0, lambda seconds: pytest.fail("waited"))
    assert patience(2)
    list(witness.gather([REQUEST], 1.0))
    assert not patience(2)


def test_three_attempts_of_a_minute() -> None:
    assert slept(60.0, 3, waits=True) == [30.0, 60.0]
