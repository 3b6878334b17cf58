"""Columns: the second opinion on correlated noise bounds every permitted participation, and agrees with the first opinion."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy.accounting.matrix import coefficients, largest_norm
from tacit.privacy.columns import MOST_ROUNDS, matrix, norm_by_columns
from tacit.privacy.correlation import square_root
from tacit.privacy.event import BandedMatrix, BufferedLinearToeplitz

Event = BandedMatrix | BufferedLinearToeplitz


@st.composite
def events(draw: st.DrawFn) -> Event:
    rounds = draw(st.integers(1, 7))
    gap, times = draw(st.integers(1, rounds)), draw(st.integers(1, 4))
    if draw(st.booleans()):
        rest = draw(st.lists(st.floats(-1, 1), max_size=3))
        return BandedMatrix(1.0, (1.0, *rest), rounds, gap, times)
    pairs = draw(st.lists(st.tuples(st.floats(0, 0.95), st.floats(-1, 1)), min_size=1, max_size=2))
    return BufferedLinearToeplitz(1.0, tuple(d for d, _ in pairs), tuple(s for _, s in pairs), rounds, gap, times)


@given(events(), st.integers(0, 99))
@settings(max_examples=60)
def test_no_permitted_participation_is_longer(event: Event, seed: int) -> None:
    made, rng, bound = matrix(event), np.random.default_rng(seed), norm_by_columns(event)
    for times in range(1, event.participations + 1):
        for rounds in combinations(range(event.rounds), times):
            if any(b - a < event.separation for a, b in pairwise(rounds)):
                continue
            directions = rng.normal(size=(times, 3))
            for each in (directions, np.ones((times, 1)), np.sign(directions[:, :1])):
                units = each / np.linalg.norm(each, axis=1, keepdims=True)
                assert np.linalg.norm(made[:, list(rounds)] @ units) <= bound * (1 + 1e-9)


@given(events())
@settings(max_examples=60)
def test_both_opinions_agree(event: Event) -> None:
    assert matrix(event)[:, 0] == pytest.approx(coefficients(event))
    assert norm_by_columns(event) == pytest.approx(largest_norm(event), rel=1e-6)


def test_the_square_root_of_four_bands() -> None:
    """1 + ¼ + 0.140625 + 0.09765625 squared and added; twice at most, four rounds apart, nothing overlaps."""
    once = BandedMatrix(1.0, square_root(4), 8, 8, 1)
    assert norm_by_columns(once) ** 2 == pytest.approx(1 + 0.25 + 0.140625 + 0.09765625)
    twice = BandedMatrix(1.0, square_root(4), 8, 4, 2)
    assert norm_by_columns(twice) ** 2 == pytest.approx(2 * norm_by_columns(once) ** 2)


def test_a_matrix_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="2048 at most"):
        norm_by_columns(BandedMatrix(1.0, (1.0,), MOST_ROUNDS + 1, 1, 1))
