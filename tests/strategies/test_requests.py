"""Requests: to whoever reads them they are the requests themselves."""

from __future__ import annotations

import pytest
import torch
from tacit.strategies.messages import Recipe, Request
from tacit.strategies.requests import Requests, owners_in
from tacit.strategies.terms import Terms

TERMS = Terms({"use": "own"}, "tacit 0.1.0", "zero-out", {"use": "everyone"}, 9, 1)
RECIPE = Recipe({"use": "sgd", "lr": 0.1}, {"use": "fedavg"}, (), 1, 9, TERMS)
WEIGHTS, BROADCAST = torch.ones(3), torch.zeros(2)
OWNERS = (4, 2, 7, 0)
ASKED = Requests("run", 3, 1, OWNERS, RECIPE, WEIGHTS, BROADCAST)


def fields(request: Request) -> tuple[object, ...]:
    assert request.weights is WEIGHTS
    assert request.broadcast is BROADCAST
    return request.run, request.round, request.attempt, request.owner, request.recipe, request.cohort


def test_they_are_one_request_for_each_owner_in_order() -> None:
    assert len(ASKED) == 4
    expected = [("run", 3, 1, owner, RECIPE, None) for owner in OWNERS]
    assert [fields(request) for request in ASKED] == expected
    assert [fields(ASKED[place]) for place in range(4)] == expected
    assert fields(ASKED[-1]) == expected[-1]
    with pytest.raises(IndexError):
        ASKED[4]


def test_parts_of_them_ask_the_same_of_fewer() -> None:
    assert ASKED[1:3].owners == (2, 7)
    assert ASKED.at([3, 0]).owners == (0, 4)
    assert ASKED.those([9]).owners == (9,)
    assert [fields(request) for request in ASKED[1:3]] == [fields(request) for request in list(ASKED)[1:3]]


def test_whom_they_ask_is_known_however_they_are_held() -> None:
    assert owners_in(ASKED) == owners_in(list(ASKED)) == OWNERS
    assert owners_in([]) == ()
