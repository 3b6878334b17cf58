"""Population: who holds what, and who answers; both the same for everybody who has the seed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.entropy import SeededEntropy
from tacit.simulation.population import Availability, Population, population_of
from tacit.tasks.catalogue import lookup
from tacit.tasks.examples import Examples
from tacit.tasks.partition import PARTITIONS, PartitionError


def owners_of(examples: int, shares: list[list[int]]) -> Population:
    training = Examples(torch.arange(examples, dtype=torch.float32)[:, None], torch.zeros(examples, dtype=torch.int64))
    return Population(training, [np.array(share, dtype=np.int64) for share in shares])


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=5))
def test_an_owner_holds_its_share_and_nothing_else(shares: list[list[int]]) -> None:
    population = owners_of(10, shares)
    assert len(population) == len(shares)
    assert population.sizes().tolist() == [len(share) for share in shares]
    for owner, share in enumerate(shares):
        assert population.examples(owner).inputs[:, 0].tolist() == share


def test_what_an_owner_does_to_its_examples_reaches_nobody_else() -> None:
    population = owners_of(4, [[0, 1], [1, 2]])
    population.examples(0).inputs.fill_(math.nan)
    assert bool(torch.isfinite(population.examples(1).inputs).all())
    assert bool(torch.isfinite(population.examples(0).inputs).all())


@pytest.mark.parametrize("name", sorted(set(PARTITIONS) - {"natural"}))
def test_the_seed_deals_and_every_example_once(name: str) -> None:
    given = {"dirichlet": {"alpha": 0.3}, "quantity-skew": {"alpha": 0.5}, "bootstrap": {"per_owner": 3}}.get(name, {})
    partition = PARTITIONS[name](**given)
    task = lookup("breast-cancer")
    one, same, other = (population_of(task, 20, seed, partition) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one.shares, same.shares, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(one.shares, other.shares, strict=True))
    assert min(one.sizes()) >= 1
    if name != "bootstrap":
        assert sorted(np.concatenate(one.shares).tolist()) == list(range(task.unit_count))


def test_more_owners_than_examples_is_refused() -> None:
    with pytest.raises(PartitionError, match="give at most"):
        population_of(lookup("breast-cancer"), 10_000, 0, PARTITIONS["iid"]())


def answered(
    availability: Availability, owners: int = 4000, seed: int = 1, round: int = 1, attempt: int = 0
) -> np.ndarray:
    entropy = SeededEntropy(seed)
    return np.array([availability.answers(entropy, round, attempt, owner) for owner in range(owners)])


@pytest.mark.parametrize(("dropout", "straggler"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.3), (0.2, 0.5), (0.999, 0.999)])
def test_owners_answer_as_often_as_they_should(dropout: float, straggler: float) -> None:
    rate = (1 - dropout) * (1 - straggler)
    found = answered(Availability(dropout, straggler)).mean()
    assert abs(found - rate) <= 5.5 * math.sqrt(rate * (1 - rate) / 4000)


def test_who_answers_is_drawn_anew_each_round_and_attempt_and_is_the_seeds() -> None:
    usual = Availability(0.3, 0.3)
    base = answered(usual, 500)
    assert np.array_equal(base, answered(usual, 500))
    for other in (answered(usual, 500, seed=2), answered(usual, 500, round=2), answered(usual, 500, attempt=1)):
        agree = (base == other).mean()
        expected = 0.49**2 + 0.51**2
        assert abs(agree - expected) <= 5.5 * math.sqrt(0.25 / 500)


def test_whether_an_owner_answers_depends_on_no_other_owner() -> None:
    usual = Availability(0.5)
    assert np.array_equal(answered(usual, 10), answered(usual, 300)[:10])
