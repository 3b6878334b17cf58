"""Frontier: nothing on it is beaten, nothing off it is better; bands, answers, and what one more buys."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.simulation.studies.frontier import (
    Measured,
    band,
    best_within,
    cheapest_reaching,
    frontier_of,
    steps,
)

NUMBERS = st.floats(0, 100) | st.just(math.inf) | st.just(math.nan)
POINTS = st.lists(st.tuples(NUMBERS, st.floats(-1, 1) | st.just(math.nan)), max_size=30)


def usable(point: tuple[float, float]) -> bool:
    return all(math.isfinite(value) for value in point)


@given(points=POINTS)
def test_the_frontier_is_what_nothing_beats(points: list[tuple[float, float]]) -> None:
    on = [points[index] for index in frontier_of(points)]
    assert all(usable(point) for point in on)
    for (a, s), (b, t) in pairwise(on):
        assert a < b
        assert s < t
    for epsilon, score in filter(usable, points):
        assert any(other <= epsilon and better >= score for other, better in on)


@given(points=POINTS, epsilon=st.floats(0, 100), score=st.floats(-1, 1))
def test_answers_are_the_best_there_is(points: list[tuple[float, float]], epsilon: float, score: float) -> None:
    fitting = [point for point in filter(usable, points) if point[0] <= epsilon]
    best = best_within(points, epsilon)
    assert (best is None) == (not fitting)
    assert best is None or points[best][1] == max(point[1] for point in fitting)
    reaching = [point for point in filter(usable, points) if point[1] >= score]
    cheapest = cheapest_reaching(points, score)
    assert (cheapest is None) == (not reaching)
    assert cheapest is None or points[cheapest][0] == min(point[0] for point in reaching)


def test_a_band_is_students_interval() -> None:
    """t(0.975, 2 degrees of freedom) = 4.3027: 2 ± 4.3027·1/√3."""
    found = band([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert found.high - found.mean == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert found.low == pytest.approx(4 - found.high)


def test_one_seed_has_no_band() -> None:
    assert band([0.5]).low == -math.inf
    assert band([0.5]).high == math.inf


def measured(rounds: int, norm: float, scores: list[float], epsilon: float) -> Measured:
    return Measured({"rounds": rounds, "norm": norm, "how": "x"}, epsilon, dict(enumerate(scores)))


def test_one_more_buys_the_mean_difference_of_pairs_that_differ_in_nothing_else() -> None:
    points = [
        measured(10, 0.1, [0.5, 0.6], 1.0), measured(20, 0.1, [0.6, 0.7], 2.0), measured(10, 0.2, [0.4, 0.4], 1.0),
        measured(20, 0.2, [0.6, 0.6], 3.0), measured(40, 0.3, [0.9, 0.9], 9.0),
    ]  # fmt: skip
    rounds, norm_at_10 = steps(points, ["rounds"])[0], steps(points, ["norm"])[0]
    assert (rounds.low, rounds.high, rounds.pairs) == (10, 20, 2)
    assert rounds.gain == pytest.approx(0.15)
    assert rounds.cost == pytest.approx(1.5)
    assert (norm_at_10.low, norm_at_10.high, norm_at_10.pairs) == (0.1, 0.2, 2)
    assert norm_at_10.gain == pytest.approx((-0.1 - 0.2 + 0 - 0.1) / 4)


def test_keys_without_numbers_and_pairs_without_a_finite_epsilon_are_left_out() -> None:
    points = [measured(10, 0.1, [0.5], 1.0), measured(20, 0.1, [0.6], math.inf)]
    assert steps(points, ["how", "rounds"]) == []
