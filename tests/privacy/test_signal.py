"""Signal: the numbers read off it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.signal import Signal


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=20))
def test_l1_bounds_integer_vectors(vector: list[int]) -> None:
    """Δ₁ ≤ min(√d·Δ₂, Δ₂²) (PRIVACY.md 4)."""
    signal = Signal(len(vector), "owner", sensitivity=math.sqrt(sum(value**2 for value in vector)))
    assert sum(abs(value) for value in vector) <= signal.l1 * (1 + 1e-12)


@pytest.mark.parametrize(("dim", "sensitivity", "l1"), [(100, 3.0, 9.0), (4, 100.0, 200.0), (1, 0.5, 0.25)])
def test_l1_is_the_smaller_of_the_two(dim: int, sensitivity: float, l1: float) -> None:
    assert Signal(dim, "owner", sensitivity=sensitivity).l1 == l1


def test_reach_is_the_peak_where_one_is_known() -> None:
    assert Signal(4, "owner").reach == math.inf
    assert Signal(4, "owner", bound=2.0).reach == 2.0
    assert Signal(4, "owner", bound=2.0, peak=0.5).reach == 0.5
