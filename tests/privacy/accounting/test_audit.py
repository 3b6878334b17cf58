"""Audit bounds: no (ε, δ)-DP guesser beats them, golden numbers, and what they do at their ends."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from tacit.privacy.accounting.audit import LEVEL, Guesses, epsilon_bound, epsilon_reach, p_value
from tacit.privacy.accounting.relation import AccountingError

EPSILONS = st.floats(0.0, 6.0)


@given(EPSILONS, st.integers(1, 60), st.data())
def test_a_randomised_response_stays_within_the_bound(epsilon: float, made: int, data: st.DataObject) -> None:
    """The best that ε-DP allows: each coin told rightly with e^ε/(1+e^ε). The bound is its tail exactly at δ = 0."""
    right = data.draw(st.integers(1, made))
    tail = float(stats.binom.sf(right - 1, made, 1 / (1 + math.exp(-epsilon))))
    assert p_value(Guesses(made, made, right), epsilon, 0.0) == pytest.approx(tail, rel=1e-9, abs=1e-300)


@given(st.integers(1, 6), st.floats(0.0, 3.0), st.floats(0.0, 0.3))
def test_a_mechanism_that_leaks_all_with_delta_stays_within_the_bound(m: int, epsilon: float, delta: float) -> None:
    """Exhaustively: with probability mδ one canary's coin, drawn uniformly, is told; the others by randomised response.

    The mechanism is (ε, δ)-DP: a canary is singled out with probability δ.
    """
    singled = min(1.0, m * delta)
    chance = 1 / (1 + math.exp(-epsilon))
    counts = np.zeros(m + 1)
    for rights in itertools.product((0, 1), repeat=m):
        usual = math.prod(chance if right else 1 - chance for right in rights)
        counts[sum(rights)] += (1 - singled) * usual
        rest = math.prod(chance if right else 1 - chance for right in rights[1:])  # the first one is told
        counts[sum(rights)] += singled * rest * rights[0]
    assert counts.sum() == pytest.approx(1.0)
    for right in range(1, m + 1):
        assert counts[right:].sum() <= p_value(Guesses(m, m, right), epsilon, delta) + 1e-12


@given(st.integers(2, 200), st.data(), st.floats(1e-9, 1e-3), st.floats(1e-6, 0.2))
@settings(max_examples=25)
def test_the_bound_is_where_the_p_value_passes_the_level(
    m: int, data: st.DataObject, delta: float, level: float
) -> None:
    made = data.draw(st.integers(1, m))
    guesses = Guesses(m, made, data.draw(st.integers(0, made)))
    bound = epsilon_bound(guesses, delta, level)
    if bound > 0:
        assert p_value(guesses, bound, delta) <= level
        assert p_value(guesses, bound + 1e-3, delta) > level
    else:
        assert p_value(guesses, 0.0, delta) > level or p_value(guesses, 1e-3, delta) > level


@given(st.integers(2, 300), st.data())
@settings(max_examples=25)
def test_more_right_guesses_show_more(m: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, m - 1))
    fewer, more = (epsilon_bound(Guesses(m, m, v), 1e-6, LEVEL) for v in (right, right + 1))
    assert fewer <= more <= epsilon_reach(m, m, 1e-6, LEVEL)


@pytest.mark.parametrize(("canaries", "delta", "shown"), [(1000, 1e-5, 5.8), (479, 479**-1.1, 3.4), (13, 1e-5, 1.3)])
def test_what_all_right_guesses_show(canaries: int, delta: float, shown: float) -> None:
    """PRIVACY.md 23, and at δ = 0 in closed form: p^m = level."""
    assert epsilon_reach(canaries, canaries, delta, LEVEL) == pytest.approx(shown, abs=0.06)
    chance = LEVEL ** (1 / canaries)
    assert epsilon_reach(canaries, canaries, 0.0, LEVEL) == pytest.approx(math.log(chance / (1 - chance)), abs=1e-4)


def test_a_blind_guesser_is_told_nothing() -> None:
    assert epsilon_bound(Guesses(1000, 1000, 500), 1e-5, LEVEL) == 0.0
    assert epsilon_bound(Guesses(1000, 1000, 0), 1e-5, LEVEL) == 0.0


@pytest.mark.parametrize("counts", [(0, 0, 0), (10, 11, 5), (10, 5, 6), (10, 5, -1)])
def test_impossible_counts_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(AccountingError, match="right of"):
        Guesses(*counts)


@pytest.mark.parametrize("level", [0.0, 0.5, -1.0, math.nan])
def test_an_impossible_level_is_refused(level: float) -> None:
    with pytest.raises(AccountingError, match="significance"):
        epsilon_bound(Guesses(10, 10, 9), 1e-5, level)
