"""Tail averaging: the mean of the last iterates, whenever it is asked for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tacit.strategies.tail import tail_initial, tail_learn, tail_mean, tail_start


@given(st.floats(0, 1), st.integers(1, 300))
def test_the_tail_has_at_least_one_round_and_no_more_than_its_fraction(fraction: float, rounds: int) -> None:
    length = rounds - tail_start(fraction, rounds) + 1
    assert 1 <= length <= max(1, fraction * rounds)


@pytest.mark.parametrize(("fraction", "rounds", "start"), [(0.5, 80, 41), (0.5, 5, 4), (1.0, 7, 1), (0.01, 10, 10)])
def test_where_it_starts(fraction: float, rounds: int, start: int) -> None:
    assert tail_start(fraction, rounds) == start


def test_the_mean_of_what_came() -> None:
    state = tail_initial(2)
    last = torch.tensor([7.0, 7.0])
    assert torch.equal(tail_mean(state, last), last)
    for row in ([1.0, 0.0], [2.0, 4.0]):
        state = tail_learn(state, torch.tensor(row))
    mean = tail_mean(state, last)
    assert mean.tolist() == [1.5, 2.0]
    assert mean.dtype == torch.float32
