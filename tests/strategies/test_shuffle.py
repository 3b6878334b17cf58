"""Shuffle: orders are permutations, uniform, and each its seed's own, drawn alone or with others."""

from __future__ import annotations

from itertools import islice

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tacit.strategies.shuffle import mixed, orders, shuffled

SEEDS = st.integers(0, 2**64 - 1)


@given(st.lists(st.tuples(SEEDS, st.integers(0, 12)), min_size=1, max_size=6), st.integers(1, 3))
def test_many_at_once_are_each_alone(owners: list[tuple[int, int]], passes: int) -> None:
    seeds = np.array([seed for seed, _ in owners], dtype=np.uint64)
    sizes = np.array([size for _, size in owners], dtype=np.int64)
    together = orders(seeds, sizes, passes)
    for rows, (seed, size) in zip(together, owners, strict=True):
        alone = islice(shuffled(seed, size), passes)
        assert [row[:size].tolist() for row in rows] == [order.tolist() for order in alone]
        assert all(sorted(row[:size]) == list(range(size)) for row in rows)


def test_words_are_those_of_splitmix64() -> None:
    """The first outputs of the public-domain reference from the state 1234567 (Vigna 2015)."""
    words = mixed(np.array([1234567], dtype=np.uint64), np.arange(5, dtype=np.uint64))
    assert words.tolist() == [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821,
    ]  # fmt: skip


def test_every_order_is_as_likely_as_another() -> None:
    """All 24 orders of four things over 24,000 consecutive seeds, by χ² (10⁻⁶); and the passes of one seed part ways."""
    found = orders(np.arange(24_000, dtype=np.uint64), np.full(24_000, 4), 2)
    for rows in (found[:, 0], found[:, 1]):
        counts = np.unique(rows @ np.array([1, 8, 64, 512]), return_counts=True)[1]
        assert len(counts) == 24
        assert stats.chisquare(counts).pvalue > 1e-6
    same = float((found[:, 0] == found[:, 1]).all(axis=1).mean())
    assert abs(same - 1 / 24) < 5 * np.sqrt(1 / 24 / 24_000)
