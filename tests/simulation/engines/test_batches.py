"""Batches: how requests are dealt into groups: all of them, alike ones together, as much in one group as in another."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy.entropy import SeededEntropy
from tacit.simulation.engines.batches import batches_of, sorted_groups
from tacit.simulation.engines.pace import Pace
from tacit.simulation.population import Population
from tacit.strategies.messages import Recipe
from tacit.strategies.requests import Requests, owners_in
from tacit.strategies.terms import Terms
from tacit.tasks.examples import Examples

PACE = Pace(lr=0.1, epochs=2, batch=5, steps=None)


def population_of(sizes: list[int]) -> Population:
    total = sum(sizes)
    return Population(
        Examples(torch.zeros(total, 1), torch.zeros(total)), np.split(np.arange(total), np.cumsum(sizes)[:-1])
    )


def requests_to(owners: int) -> Requests:
    terms = Terms({"use": "own"}, "tacit 0.1.0", "zero-out", {"use": "everyone"}, owners, 1)
    recipe = Recipe({"use": "sgd", "lr": 0.1}, {"use": "fedavg"}, (), 1, owners, terms)
    return Requests("run", 1, 0, tuple(range(owners)), recipe, torch.zeros(1), torch.zeros(0))


def groups_of(sizes: list[int], rows: int, most: int) -> list[list[int]]:
    """Sizes of the owners of each group."""
    population, requests = population_of(sizes), requests_to(len(sizes))
    groups = sorted_groups(PACE, requests, population, rows, most)
    one_by_one = sorted_groups(PACE, list(requests), population, rows, most)
    assert [owners_in(group) for group in one_by_one] == [owners_in(group) for group in groups]
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


@given(st.integers(1, 5), st.integers(1, 23), st.integers(1, 3), st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_owners_who_hold_as_many_as_one_another_have_the_batches_that_any_owners_have(
    owners: int, size: int, epochs: int, batch: int
) -> None:
    """One owner with an example less takes the general way, on which the others' batches are the same."""
    pace = Pace(lr=0.1, epochs=epochs, batch=batch, steps=None)
    entropy, requests = SeededEntropy(3), requests_to(owners + 1)
    population = population_of([size] * owners + [size - 1])
    alike = batches_of(pace, requests[:owners], population, entropy)
    mixed = batches_of(pace, requests, population, entropy)
    assert len(alike.steps) == len(mixed.steps)
    assert alike.rows.tolist() == mixed.rows.tolist()[:owners]
    for one, other in zip(alike.steps, mixed.steps, strict=True):
        assert one.even
        assert one.weights.dtype == other.weights.dtype
        assert torch.equal(one.rows, other.rows[:owners, : one.shape[1]])
        assert torch.equal(one.weights, other.weights[:owners, : one.shape[1]])
