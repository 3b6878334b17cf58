"""Upper and lower bounds of whole compositions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binom
from tacit.privacy.accounting import gaussian, loss, pair
from tacit.privacy.accounting.multiset import multiset
from tacit.privacy.event import Composed, FixedCohort, Gaussian, Laplace, Poisson, Repeated, Skellam


def _exact(truth: float, count: int, delta: float) -> float:
    k = np.arange(count + 1)
    p, q = binom.pmf(k, count, truth), binom.pmf(k, count, 1 - truth)

    def over(epsilon: float) -> float:
        return float(np.sum(np.maximum(p - math.exp(epsilon) * q, 0))) - delta

    return 0.0 if over(0.0) <= 0 else float(brentq(over, 0.0, count * math.log(truth / (1 - truth)), xtol=1e-12))


@given(st.floats(0.51, 0.9), st.integers(1, 200), st.floats(1e-8, 0.1))
@settings(max_examples=30, deadline=None)
def test_the_interval_holds_the_exact_value_of_randomised_responses(truth: float, count: int, delta: float) -> None:
    one = pair.atoms(np.array([truth, 1 - truth]), np.array([1 - truth, truth]))
    directions = ([(one, count)], [(one, count)])
    exact = _exact(truth, count, delta)
    upper = loss.upper_epsilon(directions, delta, loss.FINE, 0.0)
    lower = loss.lower_epsilon(directions, delta, 0.0)
    assert lower <= exact * (1 + 1e-9) + 1e-12
    assert upper >= exact * (1 - 1e-9)
    assert upper - lower <= 0.02 * max(1.0, exact)


@given(st.floats(0.5, 20), st.integers(1, 100), st.floats(1e-10, 1e-2), st.sampled_from([0.0, 2.0, 20.0]))
@settings(max_examples=40, deadline=None)
def test_the_interval_holds_the_exact_gaussian_at_any_tilt(noise: float, count: int, delta: float, tilt: float) -> None:
    one = pair.gaussian(noise)
    exact = gaussian.epsilon(noise / math.sqrt(count), delta)
    directions = ([(one, count)], [(one, count)])
    upper = loss.upper_epsilon(directions, delta, loss.FINE, tilt)
    assert upper >= exact * (1 - 1e-12)
    assert loss.lower_epsilon(directions, delta, tilt) <= exact
    if tilt < 20:
        assert upper <= exact * 1.002 + 0.002
        assert loss.lower_epsilon(directions, delta, tilt) >= exact * 0.99 - 0.005


def test_directions_of_unlike_leaves_are_composed_alike() -> None:
    event = Composed((Repeated(Poisson(0.1, Gaussian(1.0)), 3), Laplace(5.0)))
    directions = loss.upper_parts(multiset(event), "add-remove")
    assert directions is not None
    assert [count for _, count in directions[0]] == [count for _, count in directions[1]]
    assert len(loss.different(directions)) == 2
    assert len(loss.different(loss.upper_parts(multiset(Laplace(5.0)), "add-remove") or ([], []))) == 1


def test_leaves_without_a_pair_leave_the_upper_bound_to_rdp_and_the_lower_to_the_rest() -> None:
    mixed = multiset(Composed((Skellam(100.0, 1.0, 1.0), Repeated(Poisson(0.1, Gaussian(1.0)), 3))))
    assert loss.upper_parts(mixed, "zero-out") is None
    away, back = loss.lower_parts(mixed, "zero-out")
    assert len(away) == len(back) == 1
    assert loss.lower_epsilon(([], []), 1e-5, 0.0) == 0.0


def test_the_golden_fixed_cohort_pair() -> None:
    # n = 1000, m = 10, σ = 1, T = 100, δ = 1e-5: the pair q·N(2, 1) + (1−q)·N(0, 1) costs 6.476 (dp-accounting
    # at 1e-5: pessimistic 6.47621, optimistic 6.47571).
    leaves = multiset(Repeated(FixedCohort(10, 1000, Gaussian(1.0)), 100))
    lower = loss.lower_epsilon(loss.lower_parts(leaves, "replace-one"), 1e-5, 0.0)
    assert lower == pytest.approx(6.476, abs=2e-3)
    assert lower <= 6.47621
