"""Partition: every example at most once, every owner at least one, the same deal from the same generator."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from tacit.tasks.partition import (
    IID,
    PARTITIONS,
    Bootstrap,
    Dirichlet,
    Natural,
    Partition,
    PartitionError,
    QuantitySkew,
    Shards,
    partition_name,
)

EXHAUSTIVE = [
    IID(),
    Dirichlet(0.3),
    Dirichlet(1e-8),
    Dirichlet(1e6),
    Shards(1),
    Shards(3),
    QuantitySkew(0.5),
    QuantitySkew(1e-9),
]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(
    partition=st.sampled_from([*EXHAUSTIVE, Natural()]),
    owners=st.integers(1, 30),
    labels=st.lists(st.integers(-3, 3), min_size=90, max_size=120),
    seed=st.integers(0, 99),
)
def test_a_partition_is_a_partition(partition: Partition, owners: int, labels: list[int], seed: int) -> None:
    keys = np.array(labels)
    owners = min(owners, len(set(labels))) if isinstance(partition, Natural) else owners
    shares = partition.split(keys, owners, rng(seed))
    assert len(shares) == owners
    assert min(map(len, shares)) >= 1
    assert sorted(np.concatenate(shares).tolist()) == list(range(len(keys)))
    assert all(share.dtype == np.int64 for share in shares)
    again = partition.split(keys, owners, rng(seed))
    assert all(np.array_equal(a, b) for a, b in zip(shares, again, strict=True))


@pytest.mark.parametrize("partition", [*EXHAUSTIVE[:5], QuantitySkew(0.5)])
def test_as_many_owners_as_examples_hold_one_each(partition: Partition) -> None:
    shares = partition.split(np.arange(40) % 4, 40, rng())
    assert [len(share) for share in shares] == [1] * 40


@pytest.mark.parametrize("partition", EXHAUSTIVE)
def test_more_owners_than_examples_are_refused_with_the_remedy(partition: Partition) -> None:
    with pytest.raises(PartitionError, match=r"owners = 41.*bootstrap"):
        partition.split(np.arange(40) % 4, 41, rng())
    with pytest.raises(PartitionError, match="at least 1"):
        partition.split(np.arange(40) % 4, 0, rng())


@pytest.mark.parametrize("partition", [IID(), Dirichlet(0.3)])
def test_equal_shares_differ_by_at_most_one(partition: Partition) -> None:
    sizes = [len(share) for share in partition.split(np.arange(103) % 5, 10, rng())]
    assert sorted(set(sizes)) == [10, 11]


def purity(partition: Partition, seed: int = 0) -> float:
    """Mean share of an owner's commonest label, 20 owners × 50 examples of 10 balanced labels."""
    labels = np.arange(1000) % 10
    shares = partition.split(labels, 20, rng(seed))
    return float(np.mean([np.bincount(labels[share]).max() / len(share) for share in shares]))


def test_dirichlet_runs_from_one_label_each_to_iid() -> None:
    pure, skewed, even = purity(Dirichlet(1e-4)), purity(Dirichlet(0.3)), purity(Dirichlet(1e5))
    assert pure > 0.8
    assert 0.3 < skewed < 0.7
    assert abs(even - purity(IID())) < 0.03


def test_dirichlet_mixtures_have_the_variance_of_their_law() -> None:
    # With K labels, mixtures of Dir(α, …, α) have Var = (1/K)(1 − 1/K)/(Kα + 1) = 1/16 (Kotz et al. 2000, section 49.1);
    # the last owners get what is left, which bends the law a little. Dir(α/K, …, α/K) would have 1/8.
    labels = np.arange(40_000) % 4
    mixtures = np.array(
        [
            np.bincount(labels[share], minlength=4) / len(share)
            for seed in range(10)
            for share in Dirichlet(0.5).split(labels, 100, rng(seed))
        ]
    )
    assert 0.85 / 16 < float(mixtures.var(axis=0).mean()) < 1.25 / 16


def test_shards_hold_few_labels() -> None:
    labels = np.arange(1000) % 10
    shares = Shards(2).split(labels, 50, rng())
    assert max(len(np.unique(labels[share])) for share in shares) <= 2
    assert {len(share) for share in shares} == {20}


def test_quantity_skew_grows_as_alpha_falls() -> None:
    def largest(alpha: float) -> int:
        return max(len(share) for share in QuantitySkew(alpha).split(np.zeros(1000, dtype=np.int64), 10, rng(3)))

    assert largest(0.05) > 400
    assert largest(1e6) < 130


def test_natural_never_splits_a_group() -> None:
    groups = np.array([7, 7, 2, 2, 2, 9, 4])
    for owners in range(1, 5):
        shares = Natural().split(groups, owners, rng())
        homes = [set(groups[share].tolist()) for share in shares]
        assert sum(map(len, homes)) == 4
    with pytest.raises(PartitionError, match=r"owners = 5.*4 groups"):
        Natural().split(groups, 5, rng())


def test_bootstrap_makes_more_owners_than_examples() -> None:
    shares = Bootstrap(per_owner=4).split(np.zeros(1438, dtype=np.int64), 10_000, rng())
    assert len(shares) == 10_000
    assert {len(share) for share in shares} == {4}
    assert len(np.unique(np.concatenate(shares))) > 1430
    assert Bootstrap.synthetic
    assert not any(kind.synthetic for kind in PARTITIONS.values() if kind is not Bootstrap)


def test_a_bootstrapped_owner_does_not_depend_on_the_owners_after_it() -> None:
    few = Bootstrap(3).split(np.zeros(100, dtype=np.int64), 5, rng())
    many = Bootstrap(3).split(np.zeros(100, dtype=np.int64), 500, rng())
    assert np.array_equal(np.array(few), np.array(many[:5]))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("dirichlet", {"alpha": 0}),
        ("dirichlet", {"alpha": float("nan")}),
        ("dirichlet", {"alpha": float("inf")}),
        ("dirichlet", {"alpha": True}),
        ("dirichlet", {"alpha": 1.0, "minimum": 0}),
        ("quantity-skew", {"alpha": -1.0}),
        ("shards", {"per_owner": 0}),
        ("shards", {"per_owner": 1.5}),
        ("bootstrap", {"per_owner": 0}),
    ],
)
def test_impossible_fields_are_refused_by_name(name: str, fields: dict[str, float]) -> None:
    with pytest.raises(PartitionError, match=rf"{name}: .* = .*; give"):
        PARTITIONS[name](**fields)


@pytest.mark.parametrize("partition", [*EXHAUSTIVE, Natural(), Bootstrap(2)])
def test_the_table_and_pydantic_read_back_what_was_written(partition: Partition) -> None:
    adapter = TypeAdapter(PARTITIONS[partition_name(partition)])
    assert adapter.validate_json(adapter.dump_json(partition), strict=True) == partition


def test_pydantic_reports_a_bad_field() -> None:
    with pytest.raises(ValidationError, match="alpha"):
        TypeAdapter(Dirichlet).validate_python({"alpha": "much"})


def test_a_minimum_is_kept() -> None:
    assert min(len(share) for share in Dirichlet(0.3, minimum=3).split(np.arange(90) % 10, 30, rng())) == 3
    with pytest.raises(PartitionError, match="at least 4 of 90"):
        Dirichlet(0.3, minimum=4).split(np.arange(90) % 10, 30, rng())
