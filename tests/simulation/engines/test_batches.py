"""Batches: how requests are dealt into groups: all of them, alike ones together, as much in one group as in another."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.simulation.engines.batches import sorted_groups
from tacit.simulation.engines.pace import Pace
from tacit.simulation.population import Population
from tacit.strategies.messages import Recipe, Request
from tacit.strategies.terms import Terms
from tacit.tasks.examples import Examples

PACE = Pace(lr=0.1, epochs=2, batch=5, steps=None)


def groups_of(sizes: list[int], rows: int, most: int) -> list[list[int]]:
    """Sizes of the owners of each group."""
    total = sum(sizes)
    population = Population(
        Examples(torch.zeros(total, 1), torch.zeros(total)), np.split(np.arange(total), np.cumsum(sizes)[:-1])
    )
    terms = Terms({"use": "own"}, "tacit 0.1.0", "zero-out", {"use": "everyone"}, len(sizes), 1)
    recipe = Recipe({"use": "sgd", "lr": 0.1}, {"use": "fedavg"}, (), 1, len(sizes), terms)
    requests = [Request("run", 1, 0, owner, recipe, torch.zeros(1)) for owner in range(len(sizes))]
    groups = sorted_groups(PACE, requests, population, rows, most)
    assert sorted(request.owner for group in groups for request in group) == list(range(len(sizes)))
    return [[sizes[request.owner] for request in group] for group in groups]


def work(group: list[int]) -> int:
    """Rows in all steps: two passes, batches filled up to five."""
    return sum(2 * -(-size // 5) * min(size, 5) for size in group)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60), st.integers(20, 400), st.integers(1, 20))
@settings(max_examples=200, deadline=None)
def test_groups_keep_their_limits_and_have_those_with_most_to_do_first(sizes: list[int], rows: int, most: int) -> None:
    groups = groups_of(sizes, rows, most)
    assert [size for group in groups for size in group] == sorted(sizes, reverse=True)
    for group in groups:
        assert 1 <= len(group) <= most
        assert work(group) <= rows or len(group) == 1


def test_several_are_an_even_number_with_as_much_to_do() -> None:
    assert [len(group) for group in groups_of([10] * 20, 18 * 20, 50)] == [10, 10]
    assert [len(group) for group in groups_of([10] * 100, 10**6, 50)] == [50, 50]
    assert [len(group) for group in groups_of([10] * 120, 10**6, 50)] == [30] * 4
    uneven = groups_of([40] * 4 + [5] * 32, 400, 50)
    assert len(uneven) == 2
    assert [work(group) for group in uneven] == [320, 320]


def test_one_group_stays_one() -> None:
    assert [len(group) for group in groups_of([10] * 7, 10**6, 50)] == [7]
