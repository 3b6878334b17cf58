"""Sensitivity of correlated noise: never below any participation that is permitted, and attained where it says so."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tacit.privacy.accounting.matrix import attained_norm, coefficients, largest_norm, tree_norm
from tacit.privacy.accounting.relation import AccountingError
from tacit.privacy.event import BandedMatrix, BufferedLinearToeplitz, Tree

_any = st.lists(st.floats(-1, 1), min_size=0, max_size=5)


def _toeplitz(event: BandedMatrix | BufferedLinearToeplitz) -> np.ndarray:
    column = coefficients(event)
    matrix = np.zeros((event.rounds, event.rounds))
    for start in range(event.rounds):
        matrix[start:, start] = column[: event.rounds - start]
    return matrix


def _patterns(event: BandedMatrix | BufferedLinearToeplitz) -> list[tuple[int, ...]]:
    return [
        chosen
        for size in range(1, event.participations + 1)
        for chosen in itertools.combinations(range(event.rounds), size)
        if all(b - a >= event.separation for a, b in itertools.pairwise(chosen))
    ]


def _brute(event: BandedMatrix | BufferedLinearToeplitz) -> float:
    """The largest norm over every pattern and every choice of signs (one-dimensional contributions)."""
    matrix = _toeplitz(event)
    return max(
        float(np.linalg.norm(matrix[:, pattern] @ np.array(signs)))
        for pattern in _patterns(event)
        for signs in itertools.product((1.0, -1.0), repeat=len(pattern))
    )


@given(_any, st.integers(1, 8), st.integers(1, 4), st.integers(1, 3))
def test_no_permitted_participation_exceeds_the_bound(tail: list[float], rounds: int, gap: int, times: int) -> None:
    event = BandedMatrix(1.0, (1.0, *tail), rounds, gap, times)
    brute = _brute(event)
    assert attained_norm(event) <= brute * (1 + 1e-9)
    assert brute <= largest_norm(event) * (1 + 1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(1, 8), st.integers(1, 4), st.integers(1, 3))
def test_falling_coefficients_attain_it(values: list[float], rounds: int, gap: int, times: int) -> None:
    values = sorted(values, reverse=True)
    assume(values[0] > 0.01)
    event = BandedMatrix(1.0, tuple(values), rounds, gap, times)
    assert largest_norm(event) == pytest.approx(_brute(event), rel=1e-9)
    assert largest_norm(event) == pytest.approx(attained_norm(event), rel=1e-9)


def test_a_band_no_longer_than_the_separation_costs_root_k_of_its_norm() -> None:
    # Choquette-Choo et al. 2023, section 4: columns of one unit do not overlap.
    event = BandedMatrix(1.0, (1.0, -0.5, 0.25), 1000, 3, 10)
    assert largest_norm(event) == pytest.approx(math.sqrt(10 * (1 + 0.25 + 0.0625)), rel=1e-6)


def test_blt_coefficients_follow_their_recurrence() -> None:
    event = BufferedLinearToeplitz(1.0, (0.9, 0.5), (0.2, 0.1), 6, 2, 2)
    assert coefficients(event) == pytest.approx([1.0, 0.3, 0.23, 0.187, 0.1583, 0.13747])
    assert largest_norm(event) == pytest.approx(_brute(event))


def test_the_prefix_sum_matrix_is_one_unit_in_every_later_sum() -> None:
    # C = lower-triangular ones, one participation: the first column, √n.
    assert largest_norm(BandedMatrix(1.0, (1.0,) * 16, 16, 1, 1)) == pytest.approx(4.0)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 8, 9, 1000])
def test_a_tree_holds_each_step_in_the_nodes_that_are_ever_completed(steps: int) -> None:
    nodes = [
        sum(1 for level in range(steps.bit_length()) if ((step >> level) + 1) << level <= steps)
        for step in range(steps)
    ]
    assert tree_norm(Tree(1.0, steps)) == pytest.approx(math.sqrt(max(nodes)))


def test_more_rounds_than_memory_are_refused() -> None:
    with pytest.raises(AccountingError, match="at most"):
        largest_norm(BandedMatrix(1.0, (1.0,), 10**12, 1, 1))
