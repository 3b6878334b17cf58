"""Which runs are under way: those that were asked for lately and have rounds to come."""

from __future__ import annotations

import torch
from tacit.client.running import QUIET, Running
from tacit.strategies.messages import Recipe, Request
from tacit.strategies.terms import Terms

TERMS = Terms({"use": "digits"}, "1", "add-remove", {"use": "everyone"}, 3, 5)


def request(run: str, round: int) -> Request:
    return Request(run, round, 0, 0, Recipe({}, {}, (), 1, 3, TERMS), torch.zeros(1))


def test_a_run_is_under_way_from_its_first_round_to_its_last() -> None:
    running = Running(lambda: 0.0)
    assert running.now() == frozenset()
    for round in range(1, 5):
        running.permitted(request("a", round))
        assert running.now() == {"a"}
    running.permitted(request("a", 5))
    assert running.now() == frozenset()


def test_a_run_that_no_longer_asks_is_over_and_one_that_asks_again_is_not() -> None:
    now = [0.0]
    running = Running(lambda: now[0])
    running.permitted(request("a", 1))
    now[0] = QUIET - 1
    running.permitted(request("b", 1))
    assert running.now() == {"a", "b"}
    now[0] = QUIET + 1
    assert running.now() == {"b"}
    running.permitted(request("a", 2))
    assert running.now() == {"a", "b"}
