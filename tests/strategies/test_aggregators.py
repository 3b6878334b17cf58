"""Aggregators: definitions, and which of them only sums suffice for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import trim_mean
from tacit.strategies.aggregators import AGGREGATORS, mean, median, trimmed_mean, weighted_mean

updates = st.integers(1, 9).flatmap(
    lambda k: st.lists(st.lists(st.integers(-99, 99), min_size=3, max_size=3), min_size=k, max_size=k)
)


@given(updates)
def test_they_are_numpy_s(rows: list[list[int]]) -> None:
    values, counts = torch.tensor(rows, dtype=torch.float64), torch.arange(1, len(rows) + 1, dtype=torch.float64)
    np.testing.assert_allclose(mean(values, counts), np.mean(rows, axis=0), atol=1e-12)
    np.testing.assert_allclose(median(values, counts), np.median(rows, axis=0), atol=1e-12)
    np.testing.assert_allclose(trimmed_mean(values, counts, 0.3), trim_mean(rows, 0.3, axis=0), atol=1e-12)
    np.testing.assert_allclose(weighted_mean(values, counts), np.average(rows, axis=0, weights=counts), atol=1e-12)


def test_nobody_has_examples() -> None:
    assert not weighted_mean(torch.ones(2, 3), torch.zeros(2)).any()


def test_one_liar_moves_the_mean_but_not_the_median() -> None:
    values = torch.ones(11, 2)
    values[0] = 1e9
    counts = torch.ones(11)
    assert torch.equal(median(values, counts), torch.ones(2))
    assert torch.equal(trimmed_mean(values, counts), torch.ones(2))
    assert float(mean(values, counts)[0]) > 1e7


def test_only_the_mean_is_a_function_of_a_public_sum() -> None:
    runs = [name for name, each in AGGREGATORS.items() if not (each.needs_individuals or each.needs_counts)]
    assert runs == ["mean"]
    assert all(each.why for name, each in AGGREGATORS.items() if name != "mean")


@pytest.mark.parametrize("fraction", [-0.1, 0.5])
def test_trimming_everything_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction"):
        trimmed_mean(torch.ones(3, 1), torch.ones(3), fraction)
