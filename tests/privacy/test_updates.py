"""Updates: a dense batch of contributions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.updates import Dense


@given(st.lists(st.lists(st.floats(-1e38, 1e38), min_size=3, max_size=3), min_size=1, max_size=4))
def test_norms_are_exact_to_float64(rows: list[list[float]]) -> None:
    values = torch.tensor(rows, dtype=torch.float32)
    expected = [math.hypot(*row) for row in values.tolist()]
    assert Dense(values).norms().tolist() == pytest.approx(expected, rel=1e-12, abs=1e-300)
    assert Dense(values).norms().dtype == torch.float64


def test_norms_show_what_is_not_finite() -> None:
    norms = Dense(torch.tensor([[math.nan, 1.0], [math.inf, 0.0], [3.0, 4.0]])).norms()
    assert norms[0].isnan()
    assert norms[1:].tolist() == [math.inf, 5.0]


def test_norms_of_integers() -> None:
    assert Dense(torch.tensor([[3, 4], [0, 0]])).norms().tolist() == [5.0, 0.0]


def test_a_factor_of_zero_gives_zero_whatever_was_there() -> None:
    values = torch.tensor([[math.nan, math.inf], [1.0, 2.0]])
    scaled = Dense(values).scaled(torch.tensor([0.0, 0.5], dtype=torch.float64)).dense()
    assert scaled.tolist() == [[0.0, 0.0], [0.5, 1.0]]
    assert scaled.dtype == torch.float32
    assert values[0, 0].isnan()  # the argument stays as it was


def test_total_and_length() -> None:
    updates = Dense(torch.tensor([[1, 2], [3, 4]]))
    assert updates.total().tolist() == [4, 6]
    assert len(updates) == 2
    assert Dense(torch.zeros(0, 3)).total().tolist() == [0, 0, 0]


def test_a_single_vector_is_no_batch() -> None:
    with pytest.raises(ValueError, match=r"found shape \(3,\); add the batch dimension"):
        Dense(torch.zeros(3))
