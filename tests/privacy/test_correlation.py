"""Correlated noise on the integers: it is C⁻¹z up to rounding, and what one unit shifts is bounded as its proof says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy.accounting.matrix import coefficients, largest_norm
from tacit.privacy.correlation import (
    ROUNDING,
    Correlation,
    CorrelationError,
    Memory,
    column,
    noise,
    square_root,
)
from tacit.privacy.event import BandedMatrix, BufferedLinearToeplitz

BANDED = Correlation(coefficients=square_root(5))
BLT = Correlation(decay=(0.9, 0.5), scale=(0.12, 0.3))
BOTH = pytest.mark.parametrize("correlation", [BANDED, BLT, Correlation(coefficients=(1.0,))])
ROUNDS, DIM = 12, 6


def draws(seed: int, size: float = 1e6) -> np.ndarray:
    return np.rint(np.random.default_rng(seed).normal(scale=size, size=(ROUNDS, DIM))).astype(np.int64)


def matrix(correlation: Correlation) -> np.ndarray:
    c = column(correlation, ROUNDS)
    return np.array([[c[i - j] if i >= j else 0.0 for j in range(ROUNDS)] for i in range(ROUNDS)])


def rows(correlation: Correlation, z: np.ndarray) -> np.ndarray:
    memory = Memory()
    return np.array([noise(correlation, lambda t: z[t - 1], t, memory) for t in range(1, ROUNDS + 1)])


@BOTH
@given(seed=st.integers(0, 99))
@settings(max_examples=20)
def test_the_matrix_undoes_it_up_to_half_a_step(correlation: Correlation, seed: int) -> None:
    z = draws(seed)
    assert np.abs(matrix(correlation) @ rows(correlation, z) - z).max() <= 0.5 + 1e-6


@BOTH
def test_the_column_is_that_of_the_event(correlation: Correlation) -> None:
    event = correlation.event(1.0, ROUNDS, 1, 1)
    assert isinstance(event, BandedMatrix | BufferedLinearToeplitz)
    assert column(correlation, ROUNDS) == pytest.approx(coefficients(event))


@BOTH
def test_it_is_the_same_wherever_one_starts(correlation: Correlation) -> None:
    """A restart draws the rounds before again; a round that is opened twice gets the same noise."""
    z = draws(1)
    whole = rows(correlation, z)
    for t in (1, 5, ROUNDS):
        assert np.array_equal(noise(correlation, lambda s: z[s - 1], t, Memory()), whole[t - 1])
    memory = Memory()
    for t in (4, 4, 2, 9):
        assert np.array_equal(noise(correlation, lambda s: z[s - 1], t, memory), whole[t - 1])


@BOTH
@given(seed=st.integers(0, 99), first=st.integers(0, 3), gap=st.integers(3, 5))
@settings(max_examples=40)
def test_a_unit_shifts_the_draws_by_no_more_than_is_charged(
    correlation: Correlation, seed: int, first: int, gap: int
) -> None:
    """The proof, followed: released x + w stays, x loses a unit's Δ, and z moves by what `largest_norm` and rounding allow."""
    z, rng = draws(seed), np.random.default_rng(seed + 1)
    largest = 1e4
    delta = np.zeros((ROUNDS, DIM), dtype=np.int64)
    for t in range(first, ROUNDS, gap):
        step = rng.normal(size=DIM)
        delta[t] = np.trunc(step * largest / np.linalg.norm(step))
    w = rows(correlation, z)
    other = w + delta  # what the noise must be for the same released sums
    needed = np.zeros_like(z)
    c = column(correlation, ROUNDS)
    for t in range(ROUNDS):
        carried = sum((c[j] * other[t - j] for j in range(1, t + 1)), np.zeros(DIM))
        needed[t] = other[t] + np.rint(carried).astype(np.int64)
    times = math.ceil(ROUNDS / gap)
    if correlation.coefficients:
        event: BandedMatrix | BufferedLinearToeplitz = BandedMatrix(1.0, correlation.coefficients, ROUNDS, gap, times)
    else:
        event = BufferedLinearToeplitz(1.0, correlation.decay, correlation.scale, ROUNDS, gap, times)
    assert correlation.event(1.0, ROUNDS, gap, times) == event
    allowed = largest * largest_norm(event) + ROUNDING * math.sqrt(DIM * ROUNDS)
    assert np.linalg.norm((needed - z).astype(np.float64)) <= allowed


def test_the_sum_of_all_rounds_is_less_noisy_than_of_independent_ones() -> None:
    """What it is for: prefix sums at equal privacy. Per unit of sensitivity, over twelve rounds in which a unit is once."""
    total, plain = [], []
    for seed in range(400):
        z = draws(seed)
        norm = largest_norm(BandedMatrix(1.0, square_root(ROUNDS), ROUNDS, ROUNDS, 1))
        total.append(norm * rows(Correlation(coefficients=square_root(ROUNDS)), z).sum(axis=0))
        plain.append(z.sum(axis=0))
    assert np.var(total) < 0.5 * np.var(plain)


def test_an_unstable_matrix_ends_before_floats_do() -> None:
    with pytest.raises(CorrelationError, match="2\\^40"):
        noise(Correlation(coefficients=(1.0, 3.0)), lambda t: np.full(3, 2**30, dtype=np.int64), 60, Memory())


def test_how_many_terms_a_round_adds() -> None:
    assert BANDED.terms(1000) == 5
    assert BLT.terms(1000) == 2000
